"""Commands that ask a model, without a process of their own."""

import io
import sys
from pathlib import Path

import pytest

from jielong.cli import main

SAID = "龙" * 100  # 300 bytes, each a token: more than either command's usual number


@pytest.fixture
def echo(tmp_path: Path) -> str:
    """A table that says back what it hears."""
    path = tmp_path / "echo.toml"
    path.write_text("[[rules]]\nswap = true\n")
    return str(path)


def test_an_answer_by_rules_is_said_to_its_end(
    echo: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["generate", echo, SAID]) == 0
    assert capsys.readouterr().out == f"{SAID}\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{SAID}\n"))
    assert main(["chat", echo]) == 0
    assert capsys.readouterr().out == f"{SAID}\n"
    assert main(["generate", echo, SAID, "--max-tokens", "6"]) == 0
    assert capsys.readouterr().out == "龙龙\n"


def test_no_tokens_are_refused(echo: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", echo, "hi", "--max-tokens", "0"]) == 1
    assert "max_tokens: 0: must be between" in capsys.readouterr().err
