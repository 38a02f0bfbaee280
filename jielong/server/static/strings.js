// Every word of the page in both languages; {n} stands for a number or a name.

export const STRINGS = {
  en: {
    otherLanguage: "中文",
    newChat: "New chat",
    welcome: "What shall we talk about?",
    about: "This is a small language model, trained from nothing. It chains idioms, answers simple questions and chats in Chinese and English.",
    placeholder: "Message",
    send: "Send",
    stop: "Stop",
    caution: "Small models make mistakes.",
    context: "Context",
    forgotten: "The model no longer sees the messages above",
    stopped: "Stopped",
    cutOff: "Cut off: the context is full",
    interrupted: "Interrupted",
    finished: "Answer finished",
    tooLong: "This message is too long for the model, which reads {n} tokens at once. Shorten it and send it again.",
    busy: "The server is busy. Wait a moment, then send it again.",
    unreachable: "The server cannot be reached. Is it still running? Then send it again.",
    failed: "The server failed to answer. Send it again.",
  },
  zh: {
    otherLanguage: "English",
    newChat: "新对话",
    welcome: "想聊点什么？",
    about: "这是一个从零训练的小语言模型，会成语接龙、回答简单的问题，也能用中文和英文聊天。",
    placeholder: "输入消息",
    send: "发送",
    stop: "停止",
    caution: "模型很小，难免出错。",
    context: "上下文",
    forgotten: "模型已看不到以上的消息",
    stopped: "已停止",
    cutOff: "上下文已满，回答到此为止",
    interrupted: "回答中断",
    finished: "回答完毕",
    tooLong: "这条消息太长：模型一次只能读 {n} 个词元。请缩短后重新发送。",
    busy: "服务器正忙，请稍等片刻再发送。",
    unreachable: "连不上服务器。请确认它仍在运行，然后重新发送。",
    failed: "服务器没能回答，请重新发送。",
  },
};

export const SUGGESTIONS = {
  en: ["Hello!", "Who are you?", "My name is Lily.", "接龙：画蛇添足"],
  zh: ["你好！", "你是谁？", "接龙：画蛇添足", "“一帆风顺”最后一个字是？"],
};

const KEY = "jielong.language";

export function preferredLanguage() {
  const chosen = remembered();
  if (chosen in STRINGS) return chosen;
  return navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}

export function remember(language) {
  try {
    localStorage.setItem(KEY, language);
  } catch {
    // Storage may be forbidden; the choice then lasts as long as the page.
  }
}

function remembered() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}
