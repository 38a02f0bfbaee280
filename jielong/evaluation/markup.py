"""HTML by functions: whatever is not markup already is escaped, so no text can break the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def safe(value: object) -> Markup:
    """Markup as it is, anything else escaped."""
    return value if isinstance(value, Markup) else Markup(escape(str(value)))


def element(name: str, *content: object, **attributes: str) -> Markup:
    """`<name attributes>content</name>`; `class_` is written class."""
    given = "".join(f' {key.rstrip("_")}="{escape(value)}"' for key, value in attributes.items())
    return Markup(f"<{name}{given}>{''.join(safe(part) for part in content)}</{name}>")


def join(parts: Iterable[object], separator: str = "\n") -> Markup:
    """Several pieces as one."""
    return Markup(separator.join(safe(part) for part in parts))


def section(english: str, chinese: str, *content: Markup) -> Markup:
    """A section under a heading in both languages; empty when it would hold nothing."""
    parts = [part for part in content if part]
    if not parts:
        return Markup()
    zh = element("span", chinese, lang="zh-Hans")
    return element("section", element("h2", english, zh), *parts)


def note(text: object) -> Markup:
    """A quiet paragraph."""
    return element("p", text, class_="note")


def figure(svg: str) -> Markup:
    """A plot inside the page."""
    return Markup(f"<figure>{svg}</figure>")


def legend(entries: Iterable[tuple[str, str, str]]) -> Markup:
    """What the colours mean: (label, colour, shape), the shape being "", "dashed" or "tick"."""
    items = [
        element("span", element("i", class_=shape, style=f"--colour: var(--{colour})"), label)
        for label, colour, shape in entries
    ]
    return element("p", *items, class_="legend")


def bar(share: float, colour: str) -> Markup:
    """A horizontal bar that fills `share` of its cell."""
    return element("span", class_="bar", style=f"--width: {share:.2%}; --colour: var(--{colour})")


@dataclass(frozen=True)
class Column:
    """A table's column: numbers stand to the right."""

    title: str = ""
    kind: str = "number"


def table(columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> Markup:
    """A table; a missing value is a dash."""
    head = element("tr", *(element("th", c.title, class_=c.kind) for c in columns))
    body = [
        element(
            "tr",
            *(
                element("td", "–" if value is None else value, class_=column.kind)
                for column, value in zip(columns, row, strict=True)
            ),
        )
        for row in rows
    ]
    inner = element("table", element("thead", head), element("tbody", *body))
    return element("div", inner, class_="scroll")


def fixed(value: float | None, digits: int = 3) -> str | None:
    """A number with a fixed count of decimals, a true minus sign, or None."""
    return None if value is None else f"{value:.{digits}f}".replace("-", "−")


def signed(value: float | None, digits: int = 3) -> str | None:
    """As `fixed`, with its sign."""
    return None if value is None else f"{value:+.{digits}f}".replace("-", "−")


def interval(ends: Sequence[float] | None, digits: int = 3) -> str | None:
    """[low, high]."""
    return None if not ends else f"[{fixed(ends[0], digits)}, {fixed(ends[1], digits)}]"


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def quantity(value: float, unit: str = "") -> str:
    """A large number in thousands, millions or billions, to three figures."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            scaled = value / size
            return f"{scaled:.{2 if scaled < 10 else 1 if scaled < 100 else 0}f} {letter}{unit}"
    return f"{value:.0f} {unit}".strip()
