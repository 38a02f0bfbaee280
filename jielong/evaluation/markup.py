"""HTML by functions: whatever is not markup already is escaped, so no text can break the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def safe(value: object) -> Markup:
    """Markup as it is, anything else escaped."""
    return value if isinstance(value, Markup) else Markup(escape(str(value)))


def element(name: str, *content: object, **attributes: str) -> Markup:
    """`<name attributes>content</name>`; `class_` is written class, `aria_live` aria-live."""
    names = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items())
    given = "".join(f' {name}="{escape(value)}"' for name, value in names)
    return Markup(f"<{name}{given}>{''.join(safe(part) for part in content)}</{name}>")


def page(title: str, body: Markup, *styles: str) -> str:
    """A whole page that needs nothing else: the template of reports, with the further `styles`."""
    templates = Path(__file__).with_name("templates")
    css = [(templates / f"{name}.css").read_text("utf-8") for name in ("report", *styles)]
    template = Template((templates / "report.html").read_text("utf-8"))
    return template.substitute(title=safe(title), css="".join(css).strip(), body=body)


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


def tiles(entries: Iterable[tuple[str, str, str]]) -> Markup:
    """The figures that a reader looks for first: (what, value, what it is to be read with)."""
    return element(
        "dl",
        *(
            element(
                "div", element("dt", name), element("dd", value), element("dd", text), class_="tile"
            )
            for name, value, text in entries
        ),
        class_="tiles",
    )


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


def percent(share: float) -> str:
    """A share with as many decimals as it needs; one too small to be told is said to be so."""
    if 0 < share < 0.0005:
        return "<0.1 %"
    return f"{100 * share:.{0 if share >= 0.1 or not share else 1}f} %"


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
