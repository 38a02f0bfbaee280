// Attention: a small map for each head, a large one of the head that was chosen, and below it the
// text, coloured by where the chosen position looks.
(() => {
  const { tokens, heads, weights: packed } = JSON.parse(document.getElementById("attention").textContent);
  const weights = Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
  const T = tokens.length;
  const buttons = [...document.querySelectorAll(".layer button")];
  const readout = document.querySelector(".readout");
  const map = document.querySelector(".map");
  const size = Math.max(10, Math.min(34, Math.floor(620 / T)));
  let chosen = 0; // the head, counted through all layers
  let shown = 0; // the head that is looked at, be it only in passing
  let row = T - 1;

  const weight = (head, i, j) => weights[(head * T + i) * T + j] / 255;

  function make(name, parent, text = "", kind = "") {
    const element = document.createElement(name);
    element.textContent = text;
    if (kind) element.className = kind;
    parent.append(element);
    return element;
  }

  function draw(canvas, head) {
    canvas.width = canvas.height = T;
    const context = canvas.getContext("2d");
    context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--sft");
    for (let i = 0; i < T; i++) {
      for (let j = 0; j < T; j++) {
        context.globalAlpha = Math.sqrt(weight(head, i, j));
        context.fillRect(j, i, 1, 1);
      }
    }
  }

  const across = make("div", map, "", "across");
  const down = make("div", map, "", "down");
  const large = make("canvas", map);
  large.style.width = large.style.height = `${T * size}px`;
  map.style.setProperty("--size", `${size}px`);
  const columns = tokens.map((token) => make("span", make("div", across), token));
  const rows = tokens.map((token) => make("span", down, token));
  across.style.height = `${0.85 * down.offsetWidth + size}px`; // room for the longest, on a slant
  const chips = tokens.map((token, i) => {
    const chip = make("button", document.querySelector(".looks"), "", "token");
    chip.type = "button";
    make("b", chip, token);
    chip.addEventListener("click", () => look(i));
    chip.addEventListener("mouseenter", () => look(i));
    return chip;
  });

  const percent = (w) => (w > 0 && w < 0.01 ? "<1 %" : `${Math.round(100 * w)} %`);

  function say(targets) {
    const found = targets.map((j) => `${tokens[j]} ${percent(weight(shown, row, j))}`);
    const layer = Math.floor(shown / heads) + 1;
    readout.textContent = `L${layer} H${(shown % heads) + 1} · ${tokens[row]} → ${found.join(", ")}`;
  }

  // Where position `i` looks; `column` is the one place that is pointed at, if there is one.
  function look(i, column = -1) {
    row = i;
    const order = tokens.map((_, j) => j).sort((a, b) => weight(shown, i, b) - weight(shown, i, a));
    say(column < 0 ? order.slice(0, 3).filter((j) => weight(shown, i, j) > 0) : [column]);
    rows.forEach((label, place) => label.classList.toggle("here", place === i));
    columns.forEach((label, place) => label.classList.toggle("here", place === column));
    chips.forEach((chip, j) => {
      chip.style.setProperty("--heat", `${100 * Math.sqrt(weight(shown, i, j))}%`);
      chip.setAttribute("aria-pressed", j === i);
    });
  }

  function show(head) {
    shown = head;
    draw(large, head);
    look(row);
  }

  function choose(head) {
    chosen = head;
    buttons.forEach((button, place) => button.setAttribute("aria-pressed", place === head));
    show(head);
  }

  large.addEventListener("mousemove", (event) => {
    const place = (offset) => Math.max(0, Math.min(T - 1, Math.floor(offset / size)));
    look(place(event.offsetY), place(event.offsetX));
  });
  large.addEventListener("mouseleave", () => look(row));
  buttons.forEach((button, head) => {
    button.addEventListener("click", () => choose(head));
    button.addEventListener("mouseenter", () => show(head));
    button.addEventListener("mouseleave", () => show(chosen));
  });

  function paint() {
    buttons.forEach((button, head) => draw(button.firstChild, head));
    show(shown);
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  paint();
  choose(0);
})();
