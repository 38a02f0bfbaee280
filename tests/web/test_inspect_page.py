"""The page of `jielong inspect` in a real browser, opened as a file."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from jielong.evaluation.inspect_readings import Inspection, inspect_text
from jielong.evaluation.inspect_report import write_inspection
from jielong.generation.loading import Assistant
from tests.tiny import decoder, tokenizer

pytestmark = pytest.mark.web


@pytest.fixture(scope="module")
def found() -> Inspection:
    vocabulary = tokenizer()
    model = decoder(context=64, vocab_size=vocabulary.vocab_size)
    return inspect_text(Assistant("tiny", model, vocabulary), "一心</script>一意 fox")


@pytest.fixture
def page(browser: Browser, found: Inspection, tmp_path: Path) -> Iterator[Page]:
    context = browser.new_context(offline=True, viewport={"width": 1000, "height": 900})
    page = context.new_page()
    page.set_default_timeout(20_000)
    asked, complaints = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text))
    url = write_inspection(found, tmp_path / "inspect.html").as_uri()
    page.goto(url)
    yield page
    context.close()
    assert (asked, complaints) == ([url], [])


def strengths(page: Page) -> list[float]:
    """How strong each token of the strip is, which is the root of its weight in percent."""
    return page.locator(".looks .token").evaluate_all(
        "chips => chips.map(chip => parseFloat(chip.style.getPropertyValue('--heat')))"
    )


def shares(found: Inspection, layer: int, head: int, row: int) -> list[float]:
    weights = found.attention[layer, head, row]
    return [100 * (round(255 * float(w)) / 255) ** 0.5 for w in weights]


def test_a_head_is_clicked(page: Page, found: Inspection) -> None:
    last = len(found.tokens) - 1
    expect(page.locator("section")).to_have_count(5)
    expect(page.locator(".readout")).to_have_text(re.compile(r"^L1 H1 · x → .+ \d+ %"))
    assert strengths(page) == pytest.approx(shares(found, 0, 0, last), abs=0.5)
    small = page.locator(".layer canvas").first.evaluate("e => e.toDataURL()")
    assert page.locator(".map canvas").evaluate("e => e.toDataURL()") == small

    page.get_by_role("button", name="layer 2, head 3").click()
    page.mouse.move(0, 0)  # what was clicked stays
    expect(page.locator(".readout")).to_have_text(re.compile(r"^L2 H3 · x → "))
    assert strengths(page) == pytest.approx(shares(found, 1, 2, last), abs=0.5)
    assert page.locator(".layer button[aria-pressed=true]").count() == 1
    assert page.locator(".map canvas").evaluate("e => e.toDataURL()") != small


def test_a_head_is_looked_at_in_passing(page: Page) -> None:
    page.get_by_role("button", name="layer 1, head 4").hover()
    expect(page.locator(".readout")).to_have_text(re.compile(r"^L1 H4 · "))
    page.mouse.move(0, 0)
    expect(page.locator(".readout")).to_have_text(re.compile(r"^L1 H1 · "))


def test_a_place_of_the_map_is_pointed_at(page: Page, found: Inspection) -> None:
    """In row 3, column 1: how much of position 1 the first head takes at position 3."""
    large, tokens = page.locator(".map canvas"), found.tokens
    size = large.evaluate("e => e.clientWidth") / len(tokens)
    large.hover(position={"x": 1.5 * size, "y": 3.5 * size})
    weight = found.attention[0, 0, 3, 1].item()
    readout = page.locator(".readout").inner_text()
    assert readout.startswith(f"L1 H1 · {tokens[3].text} → {tokens[1].text} ")
    assert float(readout.split()[-2].removeprefix("<")) == pytest.approx(100 * weight, abs=1)
    assert page.locator(".down .here").inner_text() == tokens[3].text
    assert strengths(page) == pytest.approx(shares(found, 0, 0, 3), abs=0.5)


def test_a_token_of_the_strip_is_clicked(page: Page, found: Inspection) -> None:
    page.locator(".looks .token").nth(2).click()
    assert strengths(page) == pytest.approx(shares(found, 0, 0, 2), abs=0.5)
    expect(page.locator(".looks .token").nth(2)).to_have_attribute("aria-pressed", "true")
