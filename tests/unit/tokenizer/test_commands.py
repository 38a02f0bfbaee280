import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from jielong import cli
from jielong.core.errors import DataError
from jielong.tokenizer import commands
from tests.tiny import TEXTS, tokenizer

NASTY = "".join(TEXTS) + "\r\n\x00\t  🧑‍🚀<eos>\n\n"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A quickstart directory's shape: one tokenizer for all its stages."""
    for folder in ("tokenize", "sft/model"):
        (tmp_path / folder).mkdir(parents=True)
        tokenizer().save(tmp_path / folder)
    return tmp_path


class Pipe:
    """Standard input or output, as the command line uses them."""

    def __init__(self, content: bytes = b"") -> None:
        self.buffer = io.BytesIO(content)

    def write(self, text: str) -> None:
        self.buffer.write(text.encode())


def run(monkeypatch: pytest.MonkeyPatch, content: bytes, *arguments: object) -> bytes:
    """What `jielong tokenizer ...` prints, given `content`."""
    out = Pipe()
    monkeypatch.setattr("sys.stdin", Pipe(content))
    monkeypatch.setattr("sys.stdout", out)
    assert cli.main(["tokenizer", *map(str, arguments)]) == 0
    return out.buffer.getvalue()


def printed(write, *arguments: object) -> str:
    console = Console(file=io.StringIO(), width=120, highlight=False)
    write(*arguments, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("text", ["", "\n", "a", "a\n", NASTY, " a  ", "﻿x"])
def test_what_goes_in_comes_out_byte_for_byte(
    text: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = run(monkeypatch, text.encode(), "encode", "--model", model)
    assert ids == (" ".join(map(str, tokenizer().encode(text))) + "\n").encode()
    assert run(monkeypatch, ids, "decode", "--model", model) == text.encode()


def test_a_model_can_be_named_in_many_ways(model: Path) -> None:
    places = (".", "tokenize", "sft", "sft/model", "sft/model/tokenizer.json")
    assert {commands.load(model / place).sha256 for place in places} == {tokenizer().sha256}
    for place in (model / "nothing", model / "sft" / "model" / "..", model / "nothing.json"):
        if place.name != "..":
            with pytest.raises(DataError, match=r"nothing\S*: holds no tokenizer\.json"):
                commands.load(place)


def test_ids_of_half_a_character_come_out_as_their_bytes() -> None:
    first, *_ = tokenizer().encode("龘")
    assert commands.decode(tokenizer(), f"{first}\n{first}".encode()) == b"\xe9\xe9"


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"1 two 3", "'two' is no id"),
        (b"-1", "'-1' is no id"),
        (b"300", "id 300: give ids from 0 to 299"),
        (b"9" * 5000, "id 99999999999999999999: give ids from 0 to 299"),
        (b"\xff", r"'\\xff' is no id"),
        ("٣".encode(), "'٣' is no id"),
    ],
)
def test_what_is_no_id_is_refused(content: bytes, error: str) -> None:
    with pytest.raises(DataError, match=f"standard input: {error}"):
        commands.decode(tokenizer(), content)


def test_what_is_no_text_is_refused(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("sys.stdin", Pipe("晴a".encode() + b"\xff\xfe"))
    assert cli.main(["tokenizer", "encode", "--model", str(model)]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "standard input: not UTF-8 at byte 4 (0xff): convert it first\n"


def test_explain_shows_every_merge_of_a_piece() -> None:
    """'the' is t h e, then by the merges in `TEXTS`' vocabulary what `encode` gives."""
    shown = printed(commands.explain, "see the", tokenizer(), "bytes")
    for ids in tokenizer().pieces("see the"):
        assert "|".join(commands.visible(tokenizer().token_bytes[i]) for i in ids) in shown
    final = tokenizer().encode("see the")
    assert f"{len(final)} tokens: {' '.join(map(str, final))}" in shown
    assert f"of {300 - 262}" in shown


def test_explain_without_a_model_learns_from_the_text_itself() -> None:
    shown = printed(commands.explain, "ababab 春春", None, "characters")
    lines = [line.split("│")[1:-1] for line in shown.splitlines() if "│" in line]
    first, second = ([cell.strip() for cell in row] for row in lines[:2])
    assert first == ["0", "", "", "␣|a|b|a|b|a|b / ␣|春|春"]
    assert second == ["1", "a + b", "ab", "␣|ab|ab|ab / ␣|春|春"]
    assert "2 tokens after" in shown
    assert r"\xe6" in printed(commands.explain, "春", None, "bytes")


def test_the_mask_as_a_table() -> None:
    talk = [{"role": "user", "content": "a "}, {"role": "assistant", "content": "<eos>"}]
    shown = printed(commands.show_mask, [talk, talk], tokenizer())
    a, space = tokenizer().encode("a ")
    spelled = tokenizer().encode("<eos>")
    rows = [
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in shown.splitlines()
        if "│" in line
    ]
    assert rows[:5] == [
        ["0", "<bos>", "1", "", "-"],
        ["1", "<user>", "4", "user", "-"],
        ["2", "a", str(a), "user", "-"],
        ["3", "␣", str(space), "user", "-"],
        ["4", "<assistant>", "5", "assistant", "-"],
    ]
    assert [(row[2], row[4]) for row in rows[5 : 5 + len(spelled)]] == [
        (str(i), "yes") for i in spelled
    ]
    assert rows[5 + len(spelled)] == [str(5 + len(spelled)), "<eos>", "2", "assistant", "yes"]
    assert len(rows) == 2 * (6 + len(spelled))
    count = f"{len(spelled) + 1} of {6 + len(spelled)} tokens count"
    assert f"conversation 1: {count}" in shown
    assert f"conversation 2: {count}" in shown


def test_a_bad_row_is_named_with_its_line(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    file = tmp_path / "talks.jsonl"
    file.write_text(json.dumps({"prompt": "a", "completion": "b"}) + "\n{}\n", encoding="utf-8")
    assert cli.main(["tokenizer", "show-mask", str(file), "--model", str(model)]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith(f"{file}:2: ")
    assert shown.count("\n") == 1
