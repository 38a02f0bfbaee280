"""Talk to a model in the terminal, or through a pipe: one line in, one answer out.

Answers go to the console given; all else that is said (greeting, notes, mistakes) goes to stderr,
so that `echo 你好 | jielong chat MODEL` prints the answer alone.
"""

import importlib
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from io import TextIOBase, TextIOWrapper
from typing import TextIO

from rich.console import Console

from jielong.core.errors import JielongError
from jielong.core.progress import say
from jielong.core.seeds import derive
from jielong.generation.conversation import fit
from jielong.generation.engine import stream
from jielong.generation.loading import Trained
from jielong.generation.readers import Speaker
from jielong.generation.sampling import Sampling
from jielong.tokenizer.chat_template import Message

GREETING = "你好！请输入一句话，/help 列出命令。· Say something; /help lists the commands."
HELP = """\
/new   开始新对话 · begin a new conversation
/help  显示命令 · show this
/exit  结束，也可按 Ctrl-D · end, as Ctrl-D does
Ctrl-C 停止回答 · stop an answer"""
FORGOTTEN = (
    "上下文已满，模型已看不到最早的 {n} 条消息 · "
    "the context is full: the model no longer sees the oldest {n} messages"
)
_PROMPT = "> "
# What a terminal would obey instead of showing: escape sequences, bells, returns.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def chat(
    assistant: Trained[Speaker],
    sampling: Sampling,
    *,
    input: TextIO | TextIOBase | None = None,
    console: Console | None = None,
) -> None:
    """Answer the lines of `input` (stdin) on `console` (stdout) until it ends or `/exit`.

    Each turn draws from its own stream of `sampling.seed`. When the context is full the oldest
    turns leave, and it says so.
    """
    session = _Session(assistant, sampling, console or Console())
    source = input or sys.stdin
    is_terminal = source is not None and source.isatty()
    say(assistant.describe())
    if is_terminal:
        say(GREETING)
    for line in _lines(source, is_terminal=is_terminal):
        match line.strip():
            case "":
                continue
            case "/exit":
                return
            case "/help":
                say(HELP)
            case "/new":
                session.messages.clear()
                say("新对话 · a new conversation")
            case command if re.fullmatch(r"/[a-z]+", command):
                say(f"{command}: 没有这个命令 · no such command: /help lists them")
            case _:
                session.answer(line)


@dataclass
class _Session:
    assistant: Trained[Speaker]
    sampling: Sampling
    console: Console
    messages: list[Message] = field(default_factory=list)
    turns: int = 0

    def answer(self, line: str) -> None:
        """Answer one line; a line that cannot be answered leaves the conversation as it was."""
        self.turns += 1
        question = {"role": "user", "content": line}
        sampling = replace(self.sampling, seed=derive(self.sampling.seed, "turn", self.turns))
        context = self.assistant.context
        reserve = min(sampling.max_tokens, context // 4)
        try:
            fitted = fit(self.assistant.tokenizer, [*self.messages, question], context, reserve)
            if fitted.dropped_turns:
                say(FORGOTTEN.format(n=fitted.dropped_turns))
            answer = {"role": "assistant", "content": self._stream(fitted.ids, sampling)}
        except JielongError as error:
            say(str(error))
            return
        self.messages = [*self.messages[fitted.dropped_turns :], question, answer]

    def _stream(self, prompt: list[int], sampling: Sampling) -> str:
        """Print the answer as it is made, and return it as far as it came."""
        said = ""
        is_stopped = False
        try:
            for text, _ in stream(self.assistant, prompt, sampling):
                said += text
                self._show(text)
        except KeyboardInterrupt:
            is_stopped = True
        self._show("\n")
        if is_stopped:
            say("（已停止 · stopped）")
        return said

    def _show(self, text: str) -> None:
        """Text as it is: rich would wrap it, expand its tabs and colour its numbers."""
        self.console.file.write(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", text))
        self.console.file.flush()


def _lines(source: TextIO | TextIOBase | None, *, is_terminal: bool) -> Iterator[str]:
    """Lines without their ends; a terminal gets a prompt, history and editing."""
    if source is None:
        return
    read = _terminal_reader() if is_terminal and source is sys.stdin else source.readline
    if isinstance(source, TextIOWrapper):
        source.reconfigure(errors="replace")
    while True:
        try:
            line = read()
        except KeyboardInterrupt:
            if not is_terminal:
                raise
            say("\nCtrl-D 结束 · Ctrl-D ends")
            continue
        if not line:
            return
        yield line.rstrip("\r\n")


def _terminal_reader() -> Callable[[], str]:
    with suppress(ImportError):  # importing it is what gives `input` history and editing
        importlib.import_module("readline")

    def read() -> str:
        try:
            return input(_PROMPT) + "\n"
        except EOFError:
            say("")
            return ""

    return read
