import base64
import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

from jielong.cli import main
from jielong.evaluation import markup
from jielong.evaluation.inspect_readings import Inspection, Token, inspect_text
from jielong.evaluation.inspect_report import cut_line, render, write_inspection
from jielong.generation.loading import Assistant, save_model
from tests.pages import Page
from tests.tiny import assistant, decoder, tokenizer

TEMPLATES = Path(markup.__file__).with_name("templates")
TEXT = '春风<b>化雨</b>\n龘 & "quotes" </script>'


def inspection(text: str = TEXT, **changes: object) -> Inspection:
    vocabulary = tokenizer()
    changes = {"context": 200, "vocab_size": vocabulary.vocab_size} | changes
    return inspect_text(Assistant("tiny", decoder(**changes), vocabulary), text)


def attention_of(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="attention">(.*?)</script>', page)
    assert found is not None
    return json.loads(found[1])


@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_page_is_whole_and_needs_nothing_else(bidirectional: bool) -> None:
    found = inspection(bidirectional=bidirectional)
    html = render(found)
    page = Page(html)
    assert page.links == []
    assert not re.search(r"https?://|@import|url\(", html)
    headings = {"Token by token", "Attention", "Logit lens", "Neighbours"}
    assert headings | {"What it sees" if bidirectional else "What comes next"} <= {
        *page.words["h2"]
    }
    assert html.count('lang="zh-Hans"') == 11
    assert page.tags.count("button") == 2 * 4
    assert "<b>化雨" not in html
    for style in ("report", "inspect"):
        assert (TEMPLATES / f"{style}.css").read_text("utf-8").strip() in html
    assert html == render(found)


def test_a_token_cannot_end_the_script() -> None:
    """Some vocabularies have such an entry."""
    found = inspection("一")
    tokens = tuple(Token(token.id, "</script><b>") for token in found.tokens)
    html = render(dataclasses.replace(found, tokens=tokens))
    assert html.count("</script>") == 2
    assert attention_of(html)["tokens"] == ["</script><b>"] * len(tokens)


def test_the_weights_are_inside() -> None:
    found = inspection()
    held = attention_of(render(found))
    tokens = len(found.tokens)
    assert (held["heads"], held["tokens"]) == (4, [token.text for token in found.tokens])
    weights = np.frombuffer(base64.b64decode(held["weights"]), dtype=np.uint8) / 255
    expected = found.attention.numpy()
    assert np.abs(weights.reshape(2, 4, tokens, tokens) - expected).max() <= 0.5 / 255 + 1e-6


def test_figures_are_written_out() -> None:
    found = inspection("一心")
    html = render(found)
    words = " ".join(word for words in Page(html).words.values() for word in words)
    truth = found.readings[0].truth
    assert truth is not None
    assert f"{truth.bits:.2f}" in words
    bits = [reading.truth.bits for reading in found.readings if reading.truth]
    assert f"{sum(bits) / len(bits):.2f}" in words  # a token
    assert f"{sum(bits) / len('一心'.encode()):.2f}" in words  # a byte
    guess = found.neighbours[0][1][0]
    assert f"{guess.value:.2f}".replace("-", "−") in words


def test_a_cut_text_says_so() -> None:
    assert cut_line(inspection("一心")) == ""
    long = inspection("一" * 300)
    assert cut_line(long) == "Cut: the text has 301 tokens, a page has room for the first 100."
    assert cut_line(long) in render(long)
    short = inspection("一" * 20, context=12)
    assert cut_line(short).endswith("the model's context holds the first 12.")


def test_an_empty_text_makes_a_page() -> None:
    page = Page(render(inspection("")))
    assert "What comes next" in page.words["h2"]  # after <bos>, which is all that it reads


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_model(tmp_path, assistant().model, assistant().tokenizer)
    monkeypatch.chdir(tmp_path)
    assert main(["inspect", "model", "一心一意"]) == 0
    assert capsys.readouterr() == ("inspect.html\n", "")
    Page(Path("inspect.html").read_text(encoding="utf-8"))
    assert main(["inspect", "model", "一" * 40, "--out", "x/y.html", "-k", "2"]) == 0
    out, err = capsys.readouterr()
    assert out == "x/y.html\n"
    assert err == "Cut: the text has 41 tokens, the model's context holds the first 32.\n"
    assert main(["inspect", "nowhere", "一"]) == 1
    assert main(["inspect", "model", "一", "-k", "9999"]) == 1
    assert capsys.readouterr().err.endswith("best: 9999: must be from 1 to 299\n")


def test_the_path_is_given_back(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    assert write_inspection(inspection("一"), path) == path
    assert path.is_file()
