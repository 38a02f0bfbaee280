"""The terminal chat through pipes and through a real terminal."""

import contextlib
import io
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from jielong.baselines import rules
from jielong.baselines.rules import Rule, RuleTable
from jielong.core import progress
from jielong.generation import terminal_chat
from jielong.generation.loading import Assistant, Trained, save_model
from jielong.generation.readers import RuleSpeaker
from jielong.generation.sampling import Sampling
from tests import tiny
from tests.serving import speaker

ANSWER = "你好，很高兴见到。Hello there!"
GREEDY = Sampling(strategy="greedy")


def talk(
    monkeypatch: pytest.MonkeyPatch, lines: str, assistant: Assistant, sampling: Sampling = GREEDY
) -> tuple[str, str]:
    """What is answered, and what else is said."""
    answers, notes = io.StringIO(), io.StringIO()
    monkeypatch.setattr(progress, "console", Console(file=notes, width=1000))
    console = Console(file=answers, width=20)
    terminal_chat.chat(assistant, sampling, input=io.StringIO(lines), console=console)
    return answers.getvalue(), notes.getvalue()


def test_a_pipe_gets_answers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    answers, notes = talk(monkeypatch, "我们接龙吧\n\n  \nhello", speaker(ANSWER))
    assert answers == f"{ANSWER}\n{ANSWER}\n"
    assert notes == "speaker: 0.5M parameters, context 256 tokens\n"


def test_nothing_said_nothing_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    assert talk(monkeypatch, "", speaker(ANSWER))[0] == ""
    monkeypatch.setattr(sys, "stdin", None)
    terminal_chat.chat(speaker(ANSWER), GREEDY, console=Console(file=io.StringIO()))


def test_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    answers, notes = talk(monkeypatch, "/help\n/nope\n/etc/passwd\n/exit\nhello\n", speaker("你好"))
    assert answers == "你好\n"  # a path is no command
    assert "/new" in notes
    assert "/nope: " in notes


def prompts(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The messages of each turn, as they are handed to `fit`, from now on."""
    seen: list[list[str]] = []
    fit = terminal_chat.fit

    def spy(tokenizer, messages, context, reserve):
        seen.append([message["content"] for message in messages])
        return fit(tokenizer, messages, context, reserve)

    monkeypatch.setattr(terminal_chat, "fit", spy)
    return seen


def test_the_conversation_is_remembered_until_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = prompts(monkeypatch)
    talk(monkeypatch, "a\nb\n/new\nc\n", speaker("你好"))
    assert seen == [["a"], ["a", "你好", "b"], ["c"]]


def test_the_oldest_turns_leave_and_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    # Of 64 tokens 16 are kept for the answer. <bos> and <assistant> are 2, a question is 1 + 10 and
    # its answer 1 + 2 + 1: with k turns before it a question needs 13 + 15 k, so two turns fit.
    seen = prompts(monkeypatch)
    answers, notes = talk(monkeypatch, ("龙" * 10 + "\n") * 5, speaker("你好", context=64))
    assert answers == "你好\n" * 5
    assert [len(messages) for messages in seen] == [1, 3, 5, 7, 7]
    assert notes.count("the oldest 2 messages") == 2


def test_a_line_too_long_is_refused_and_the_chat_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = prompts(monkeypatch)
    answers, notes = talk(monkeypatch, "a\n" + "龙" * 60 + "\nb\n", speaker("你好", context=64))
    assert answers == "你好\n你好\n"
    assert "63 tokens" in notes
    assert "64: shorten it" in notes
    assert seen[-1] == ["a", "你好", "b"]


def test_a_line_that_cannot_be_answered_is_told_and_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The third line hears the second reply: the second was no turn of the conversation."""
    monkeypatch.setattr(rules, "_PATIENCE_S", 0.05)
    slow, polite = Rule(pattern="^(a|aa)+$", reply=("x",)), Rule(pattern="hi", reply=("1", "2"))
    tokenizer = tiny.tokenizer()
    table = Trained("rules", RuleSpeaker(RuleTable(rules=(slow, polite)), tokenizer), tokenizer)
    answers, notes = talk(monkeypatch, "hi\n" + "a" * 60 + "b\nhi\n", table)
    assert answers == "1\n2\n"
    assert notes.count("rules[0].pattern: '^(a|aa)+$': takes more than") == 1


def test_each_turn_draws_anew_and_a_seed_repeats_the_chat(monkeypatch: pytest.MonkeyPatch) -> None:
    sampling = Sampling(temperature=1.5, max_tokens=6, seed=3)
    lines = "a\n/new\n" * 3
    first, _ = talk(monkeypatch, lines, tiny.assistant(), sampling)
    assert first == talk(monkeypatch, lines, tiny.assistant(), sampling)[0]
    assert len({*first.splitlines()}) > 1


def test_a_terminal_obeys_nothing_that_the_model_says(monkeypatch: pytest.MonkeyPatch) -> None:
    def stream(*_: object):
        for text in ("\x1b[31mred", ":smile: [bold]b[/bold]\r\n", "\x9b\x07\ttab"):
            yield text, None

    monkeypatch.setattr(terminal_chat, "stream", stream)
    answers, _ = talk(monkeypatch, "a\n", speaker("你好"))
    assert answers == "\ufffd[31mred:smile: [bold]b[/bold]\ufffd\n\ufffd\ufffd\ttab\n"


def test_ctrl_c_in_a_pipe_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(io.StringIO):
        def readline(self, size: int = -1, /) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        terminal_chat.chat(speaker("你好"), GREEDY, input=Interrupted())


def start(folder: Path, **streams: int) -> subprocess.Popen:
    script = (
        "import sys; from pathlib import Path\n"
        "from jielong.generation.loading import load_assistant\n"
        "from jielong.generation.sampling import Sampling\n"
        "from jielong.generation.terminal_chat import chat\n"
        "chat(load_assistant(Path(sys.argv[1])), Sampling(max_tokens=100_000))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", script, str(folder)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "TERM": "dumb"},
        **streams,
    )


def test_bytes_that_are_no_text_through_a_real_pipe(tmp_path: Path) -> None:
    assistant = speaker("你好")
    save_model(tmp_path, assistant.model, assistant.tokenizer)
    process = start(
        tmp_path / "model", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    answers, notes = process.communicate(b"\xff\xfe\x00\n\xe4\xbd\nhello", timeout=60)
    assert process.returncode == 0
    assert answers.decode() == "你好\n" * 3
    assert b"Traceback" not in notes


def test_a_terminal_streams_stops_and_ends(tmp_path: Path) -> None:
    assistant = speaker("你好", context=20_000, endless=True)
    save_model(tmp_path, assistant.model, assistant.tokenizer)
    master, slave = pty.openpty()
    process = start(tmp_path / "model", stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    shown = b""

    def read_until(text: str) -> None:
        nonlocal shown
        deadline_s = time.monotonic() + 60
        while text.encode() not in shown:
            assert select.select([master], [], [], max(deadline_s - time.monotonic(), 0))[0], shown
            shown += os.read(master, 65536)
        shown = shown.partition(text.encode())[2]

    try:
        read_until("> ")
        for _ in range(2):
            os.write(master, "我们接龙吧\n".encode())
            read_until("你好你好你好")
            process.send_signal(signal.SIGINT)
            read_until("stopped")
            read_until("> ")
        time.sleep(0.3)  # a signal between prompt and reading waits for the next key
        process.send_signal(signal.SIGINT)  # at the prompt: it tells how to end
        read_until("Ctrl-D")
        for _ in range(30):  # a key pressed before the next line is read can be lost: press again
            with contextlib.suppress(OSError):  # the other side is closed
                os.write(master, b"\x04")
                while select.select([master], [], [], 1)[0]:
                    os.read(master, 65536)
            if process.poll() is not None:
                break
        assert process.wait(timeout=5) == 0
    finally:
        process.kill()
        process.wait()
        os.close(master)
