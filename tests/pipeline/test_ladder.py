"""The ladder through the command line, on the chain's own text."""

import json
from pathlib import Path

import pytest

from tests.pipeline.conftest import jielong

pytestmark = pytest.mark.pipeline


@pytest.fixture(scope="module")
def ladder(chain: Path, repository: Path) -> Path:
    """The tiny recipe, every rung of it."""
    recipe = repository / "recipes" / "tiny" / "ladder.toml"
    run = chain.parent / "ladder"
    paths = {"run_dir": run, "prepared": chain / "prepare", "data": chain / "tokenize"}
    jielong("ladder", recipe, *(f"{key}={path}" for key, path in paths.items()))
    return run


def test_the_rungs_are_in_a_sensible_order(ladder: Path) -> None:
    summary = json.loads((ladder / "summary.json").read_text())
    bits = {rung["name"]: rung["bits_per_byte"] for rung in summary["rungs"]}
    assert max(bits.values()) < summary["uniform"]
    assert bits["trigram"] < bits["trigram-katz"] < bits["trigram-add-k"] < bits["unigram"]
    for name in ("lstm", "gru", "gpt"):
        assert bits[name] < bits["unigram"] - 0.3


def test_the_page_holds_each_rung_and_stands_alone(ladder: Path) -> None:
    page = (ladder / "report.html").read_text()
    summary = json.loads((ladder / "summary.json").read_text())
    names = [rung["name"] for rung in summary["rungs"] + summary["translators"]]
    assert len(names) == 9
    assert [name for name in names if name not in page] == []
    assert "我会下棋。" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    (ladder / "report.html").unlink()
    jielong("report", ladder)
    assert (ladder / "report.html").read_text() == page


@pytest.mark.parametrize("rung", ["trigram", "lstm", "gpt", "attention"])
def test_each_rung_generates(ladder: Path, rung: str) -> None:
    arguments = ("generate", ladder / "rungs" / rung, "春天来了。", "--max-tokens", "8")
    first, again = (jielong(*arguments).stdout for _ in range(2))
    assert first == again
    assert first.strip()


def test_the_rules_answer_in_a_pipe() -> None:
    assert jielong("chat", "rules", input="你会下棋吗？\n").stdout == "我会下棋。\n"


def test_a_bad_table_of_rules_is_one_line(tmp_path: Path) -> None:
    table = tmp_path / "bad.toml"
    table.write_text('[[rules]]\npattern = "("\nreply = ["x"]\n')
    done = jielong("chat", table, check=False, input="x\n")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "not a regular expression" in done.stderr
