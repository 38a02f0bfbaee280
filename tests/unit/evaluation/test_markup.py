import pytest

from jielong.evaluation.markup import (
    Column,
    Markup,
    duration,
    element,
    fixed,
    interval,
    quantity,
    signed,
    table,
)


def test_only_markup_passes_unescaped() -> None:
    inner = element("b", "1 < 2")
    assert element("p", inner, " & <i>", class_='a"b') == (
        '<p class="a&quot;b"><b>1 &lt; 2</b> &amp; &lt;i&gt;</p>'
    )
    assert isinstance(inner, Markup)


def test_a_missing_value_is_a_dash() -> None:
    html = table([Column("Name", ""), Column("Value")], [["<x>", None]])
    assert "&lt;x&gt;" in html
    assert '<td class="number">–</td>' in html


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3.14, "3.1 s"), (59.4, "59 s"), (361.0, "6 min 01 s"), (7265.0, "2 h 01 min")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"), [(950, "950"), (1_515_520, "1.52 M"), (934_000, "934 k"), (41_300, "41.3 k")]
)
def test_quantity(value: float, text: str) -> None:
    assert quantity(value) == text


def test_numbers_use_a_true_minus() -> None:
    assert fixed(-0.1234) == "−0.123"
    assert signed(0.0214) == "+0.021"
    assert interval((-0.5, 0.25), 2) == "[−0.50, 0.25]"
    assert fixed(None) is None
