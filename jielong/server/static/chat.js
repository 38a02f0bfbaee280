// The conversation: what was said, what the page shows of it, and the answer being made.

import { ApiError, complete, servedModel } from "/static/api.js";
import { preferredLanguage, remember, STRINGS, SUGGESTIONS } from "/static/strings.js";

const byId = (id) => document.getElementById(id);
const scroller = byId("scroller");
const list = byId("messages");
const box = byId("text");

let language = preferredLanguage();
let model = null;
let turns = [];
let firstSeen = 0; // turns before this one no longer fit the model's context
let running = null; // the AbortController of the answer being made
let isComposing = false;
let isFollowing = true;

// --- words -----------------------------------------------------------------------------------

const string = (key, n = "") => STRINGS[language][key].replace("{n}", n);

function write(element, key, n = "") {
  element.dataset.text = key;
  element.dataset.n = n;
  element.textContent = string(key, n);
}

function showLanguage() {
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-text]")) {
    element.textContent = string(element.dataset.text, element.dataset.n);
  }
  for (const element of document.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", string(element.dataset.label));
  }
  box.placeholder = string("placeholder");
  byId("new").title = string("newChat");
  byId("new").setAttribute("aria-label", string("newChat"));
  byId("language").textContent = string("otherLanguage");
  byId("language").lang = language === "zh" ? "en" : "zh";
  const suggestions = SUGGESTIONS[language].map((text) => {
    const button = make("button", "", text);
    button.type = "button";
    button.addEventListener("click", () => send(text));
    const item = make("li");
    item.append(button);
    return item;
  });
  byId("suggestions").replaceChildren(...suggestions);
}

// --- what is seen ----------------------------------------------------------------------------

function make(tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.textContent = text;
  return element;
}

function addTurn(role, content = "") {
  const element = make("li", `turn ${role}`);
  const text = make("p", "text");
  const shown = document.createTextNode(content);
  text.append(shown);
  element.append(text);
  list.append(element);
  const turn = { role, content, element, shown, frame: null };
  turns.push(turn);
  return turn;
}

// Tokens may come faster than the screen changes: what came is drawn once a frame.
function showSoon(turn) {
  turn.frame ??= requestAnimationFrame(() => showNow(turn));
}

function showNow(turn) {
  cancelAnimationFrame(turn.frame);
  turn.frame = null;
  turn.shown.appendData(turn.content.slice(turn.shown.length));
  follow();
}

function removeTurn(turn) {
  turn.element.remove();
  turns = turns.filter((other) => other !== turn);
}

function addNote(turn, key) {
  const note = make("p", "note");
  write(note, key);
  turn.element.append(note);
}

function showForgotten(dropped) {
  if (!dropped) return;
  firstSeen += dropped;
  list.querySelector(".divider")?.remove();
  const divider = make("li", "divider");
  const words = make("span");
  write(words, "forgotten");
  divider.append(words);
  turns[firstSeen].element.before(divider);
}

function showUsage(usage) {
  byId("used").max = model.context;
  byId("used").value = usage.total_tokens;
  byId("counts").textContent = `${usage.total_tokens} / ${model.context}`;
  byId("meter").hidden = false;
}

function showAlert(key, n = "") {
  byId("alert").hidden = !key;
  if (key) write(byId("alert"), key, n);
}

function showState() {
  byId("welcome").hidden = turns.length > 0;
  byId("send").hidden = running !== null;
  byId("stop").hidden = running === null;
  byId("send").disabled = !box.value.trim() || model === null;
}

function follow() {
  if (isFollowing) scroller.scrollTop = scroller.scrollHeight;
}

function fitBox() {
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight}px`;
}

// --- what is done ----------------------------------------------------------------------------

async function send(content) {
  if (running || !content.trim() || model === null) return;
  showAlert(null);
  const question = addTurn("user", content);
  const answer = addTurn("assistant");
  answer.element.setAttribute("aria-busy", "true");
  const controller = new AbortController();
  running = controller;
  isFollowing = true;
  if (box.value === content) box.value = "";
  fitBox();
  showState();
  follow();
  let failure = null;
  try {
    await receive(answer, controller.signal);
  } catch (error) {
    failure = error;
  }
  if (running !== controller) return; // a new chat was begun meanwhile
  running = null;
  showNow(answer);
  answer.element.removeAttribute("aria-busy");
  if (failure) settle(failure, question, answer);
  else byId("status").textContent = string("finished");
  showState();
  follow();
  box.focus({ preventScroll: true });
}

async function receive(answer, signal) {
  const sent = turns.slice(firstSeen, -1).map(({ role, content }) => ({ role, content }));
  byId("status").textContent = "";
  for await (const chunk of complete(model.name, sent, signal)) {
    signal.throwIfAborted();
    showForgotten(chunk.jielong?.dropped_messages);
    const choice = chunk.choices[0];
    if (choice?.delta.content) {
      answer.content += choice.delta.content;
      showSoon(answer);
    }
    if (choice?.finish_reason === "length") addNote(answer, "cutOff");
    if (chunk.usage) showUsage(chunk.usage);
  }
}

// An answer that broke off stays as far as it came; without one the question goes back to the box.
function settle(failure, question, answer) {
  const wasStopped = failure.name === "AbortError";
  if (answer.content) {
    addNote(answer, wasStopped ? "stopped" : "interrupted");
  } else {
    removeTurn(answer);
    removeTurn(question);
    if (!box.value) box.value = question.content;
    fitBox();
  }
  if (wasStopped) return;
  if (!(failure instanceof ApiError)) showAlert("unreachable");
  else if (failure.code === "context_length_exceeded") showAlert("tooLong", model.context);
  else if (["queue_full", "shutting_down"].includes(failure.code)) showAlert("busy");
  else showAlert("failed");
}

function stop() {
  running?.abort();
}

function newChat() {
  stop();
  running = null;
  turns = [];
  firstSeen = 0;
  list.replaceChildren();
  byId("meter").hidden = true;
  showAlert(null);
  showState();
  box.focus();
}

// --- hands -----------------------------------------------------------------------------------

byId("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  send(box.value);
});
byId("stop").addEventListener("click", stop);
byId("new").addEventListener("click", newChat);
byId("language").addEventListener("click", () => {
  language = language === "zh" ? "en" : "zh";
  remember(language);
  showLanguage();
});

box.addEventListener("input", () => {
  fitBox();
  showState();
});
box.addEventListener("compositionstart", () => {
  isComposing = true;
});
box.addEventListener("compositionend", () => {
  isComposing = false;
});
box.addEventListener("keydown", (event) => {
  // 229: some browsers end the composition just before the key that ended it.
  if (event.key !== "Enter" || event.shiftKey) return;
  if (isComposing || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  send(box.value);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !isComposing) stop();
});
scroller.addEventListener("scroll", () => {
  isFollowing = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 48;
});

showLanguage();
showState();
try {
  model = await servedModel();
  byId("model").textContent = model.name;
} catch {
  showAlert("unreachable");
}
showState();
