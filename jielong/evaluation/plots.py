"""The report's figures, as SVG that lives inside the page.

Matplotlib draws with placeholder colours that are then replaced by the page's CSS variables, so one
figure serves light and dark; text stays text in the page's own font. Nothing in a figure depends on
the time or on chance: the same numbers give the same bytes.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, MUTED, GRID, PAPER = "ink", "muted", "grid", "paper"
COLOURS = {
    name: f"#{place:02x}c0de"
    for place, name in enumerate(
        (INK, MUTED, GRID, PAPER, "base", "sft", "reward", "ppo", "ppo-ptx", "other", "rival")
    )
}
"""Placeholder of each CSS variable `--name`."""

STYLE: dict[Any, Any] = {
    "svg.hashsalt": "jielong",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.titlepad": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": COLOURS[GRID],
    "axes.labelcolor": COLOURS[MUTED],
    "axes.titlecolor": COLOURS[INK],
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": COLOURS[GRID],
    "grid.linewidth": 0.6,
    "text.color": COLOURS[INK],
    "xtick.color": COLOURS[MUTED],
    "ytick.color": COLOURS[MUTED],
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
}

WIDTH = 7.6  # inches; the page scales figures to its own width
POINTS = 240  # a curve longer than this is averaged down


@dataclass(frozen=True)
class Line:
    """One series of a panel."""

    x: Sequence[float]
    y: Sequence[float]
    colour: str
    dashed: bool = False
    smooth: bool = True
    dots: bool = False


@dataclass(frozen=True)
class Panel:
    """One set of axes."""

    title: str
    lines: Sequence[Line]
    reference: float | None = None
    x_label: str = ""


@dataclass(frozen=True)
class Mark:
    """One row of a forest plot: a value, and its interval when there is one."""

    label: str
    value: float
    ends: tuple[float, float] | None
    colour: str


def panels(name: str, items: Sequence[Panel], columns: int = 3) -> str:
    """Small multiples: one panel a quantity."""
    columns = min(columns, len(items))
    rows = math.ceil(len(items) / columns)
    height = rows * (1.75 if columns > 2 else 2.5)
    with drawing(name, height, "; ".join(item.title for item in items)) as (figure, result):
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for axis, item in zip(axes, items, strict=False):
            _panel(axis, item)
        for axis in axes[len(items) :]:
            axis.set_axis_off()
    return result()


def forest(name: str, marks: Sequence[Mark], reference: float, x_label: str) -> str:
    """Values with intervals, one row each, against a reference line."""
    with drawing(name, 0.75 + 0.32 * len(marks), x_label) as (figure, result):
        axis = figure.subplots()
        axis.axvline(reference, color=COLOURS[MUTED], linewidth=0.9, dashes=(4, 3))
        for row, mark in enumerate(marks):
            if mark.ends:
                axis.plot(mark.ends, [row, row], color=COLOURS[mark.colour], linewidth=2.2)
            axis.plot(mark.value, row, "o", color=COLOURS[mark.colour], markersize=6)
        axis.set_yticks(range(len(marks)), [mark.label for mark in marks], color=COLOURS[INK])
        axis.set_ylim(len(marks) - 0.4, -0.6)
        axis.set_xlabel(x_label)
        axis.grid(visible=False, axis="y")
        axis.spines["left"].set_visible(False)
    return result()


def grouped_bars(
    name: str, groups: Mapping[str, Mapping[str, float]], ticks: Mapping[str, float]
) -> str:
    """Horizontal bars of shares: a group per task, a bar per stage, a tick where chance is."""
    bars = max(len(values) for values in groups.values())
    step = bars * 0.105 + 0.16
    with drawing(name, 0.5 + step * len(groups), "task accuracy") as (figure, result):
        axis = figure.subplots()
        thick = 0.105 / step
        for row, (label, values) in enumerate(groups.items()):
            for place, (stage, value) in enumerate(values.items()):
                y = row + (place - (len(values) - 1) / 2) * thick
                axis.barh(y, value, thick * 0.8, color=COLOURS[stage])
            half = 0.5 * bars * thick + 0.04
            if ticks.get(label, 0.0) > 0.005:  # closer to zero it is the axis
                span = [row - half, row + half]
                axis.plot([ticks[label]] * 2, span, color=COLOURS[INK], linewidth=1.1)
        axis.set_yticks(range(len(groups)), list(groups), color=COLOURS[INK])
        axis.set_ylim(len(groups) - 0.45, -0.55)
        axis.set_xlim(0, 1)
        axis.grid(visible=False, axis="y")
        axis.spines["left"].set_visible(False)
    return result()


def value_bars(name: str, values: Sequence[tuple[str, float, str]], title: str) -> str:
    """Horizontal bars from zero with their value written at the end: (label, value, colour)."""
    with drawing(name, 0.35 + 0.34 * len(values), title) as (figure, result):
        axis = figure.subplots()
        for row, (_, value, colour) in enumerate(values):
            axis.barh(row, value, 0.62, color=COLOURS[colour])
            axis.annotate(
                f"{value:.3f}", (value, row), (5, 0), textcoords="offset points", va="center"
            )
        axis.set_yticks(range(len(values)), [label for label, _, _ in values], color=COLOURS[INK])
        axis.set_ylim(len(values) - 0.5, -0.5)
        axis.set_xlim(0, 1.14 * max(value for _, value, _ in values))
        axis.set_xticks([])
        axis.grid(visible=False)
        axis.spines[["left", "bottom"]].set_visible(False)
    return result()


def reliability(name: str, bins: Sequence[Mapping[str, float]]) -> str:
    """Predicted against observed; the size of a dot is the share of pairs in its bin."""
    with drawing(name, 2.7, "reliability", width=3.4) as (figure, result):
        axis = figure.subplots()
        axis.plot([0, 1], [0, 1], color=COLOURS[MUTED], linewidth=0.9, dashes=(4, 3))
        x, y = [b["predicted"] for b in bins], [b["observed"] for b in bins]
        axis.plot(x, y, color=COLOURS["reward"])
        sizes = [12 + 260 * b["share"] for b in bins]
        axis.scatter(x, y, s=sizes, color=COLOURS["reward"], linewidths=0, zorder=3)
        axis.set(xlim=(0, 1), ylim=(0, 1), xlabel="predicted", ylabel="observed")
        axis.set_title("calibration of sigmoid(score gap)")
    return result()


def paired_dots(name: str, rows: Sequence[tuple[str, float, float]], title: str) -> str:
    """Two values a row joined by a line: the judge's (ink) and the model's (reward)."""
    with drawing(name, 2.7, title, width=4.2) as (figure, result):
        axis = figure.subplots()
        axis.axvline(0, color=COLOURS[MUTED], linewidth=0.9)
        for place, (_, gold, model) in enumerate(rows):
            axis.plot([gold, model], [place, place], color=COLOURS[GRID], linewidth=2)
            axis.plot(gold, place, "o", color=COLOURS[INK], markersize=5)
            axis.plot(model, place, "o", color=COLOURS["reward"], markersize=6)
        axis.set_yticks(range(len(rows)), [label for label, _, _ in rows], color=COLOURS[INK])
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.grid(visible=False, axis="y")
        axis.spines["left"].set_visible(False)
        axis.set_title(title)
    return result()


def _panel(axis: Axes, item: Panel) -> None:
    if item.reference is not None:
        axis.axhline(item.reference, color=COLOURS[MUTED], linewidth=0.9, dashes=(4, 3))
    for line in item.lines:
        x, y = _thin(np.asarray(line.x, dtype=float), np.asarray(line.y, dtype=float))
        colour = COLOURS[line.colour]
        style = (0, (3.5, 2)) if line.dashed else "-"
        if line.smooth and len(x) > 20:
            axis.plot(x, y, color=colour, alpha=0.22, linewidth=0.8)
            y = _smooth(y)
        axis.plot(x, y, color=colour, linestyle=style)
        if line.dots or len(x) == 1:
            axis.plot(x, y, "o", color=colour, markersize=4)
    axis.set_title(item.title)
    axis.set_xlabel(item.x_label)
    axis.locator_params(nbins=4)
    axis.margins(x=0.02)


def _thin(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Averages over runs of neighbouring points, few enough for a page."""
    finite = np.isfinite(x) & np.isfinite(y)
    x, y = x[finite], y[finite]
    if len(x) <= POINTS:
        return x, y
    x, y = (
        np.array([chunk.mean() for chunk in np.array_split(values, POINTS)]) for values in (x, y)
    )
    return x, y


def _smooth(y: np.ndarray) -> np.ndarray:
    """Exponential average forth and back, so that it neither lags nor starts low."""
    decay = math.exp(-1 / max(2.0, len(y) / 40))

    def sweep(values: np.ndarray) -> np.ndarray:
        total, weight, result = 0.0, 0.0, np.empty_like(values)
        for i, value in enumerate(values):
            total, weight = decay * total + value, decay * weight + 1
            result[i] = total / weight
        return result

    return (sweep(y) + sweep(y[::-1])[::-1]) / 2


@contextmanager
def drawing(
    name: str, height: float, label: str, width: float = WIDTH
) -> Iterator[tuple[Figure, Callable[[], str]]]:
    """A figure, and a function that turns it into markup when the block has drawn on it."""
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # measured here, drawn by the browser
        figure = Figure((width, height), layout="constrained")
        result: list[str] = []
        yield figure, lambda: result[0]
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
        result.append(_embed(buffer.getvalue(), name, label, width))


def _embed(svg: str, name: str, label: str, width: float) -> str:
    """Cut the SVG out of its XML file and make it part of the page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    prefix = re.sub(r"\W+", "-", name)
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    for variable, placeholder in COLOURS.items():
        svg = svg.replace(placeholder, f"var(--{variable})")
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", svg)
    head = (
        f'<svg role="img" aria-label="{escape(label)}" style="max-width: {width / WIDTH:.0%}" '
        'viewBox="{}" xmlns="http://www.w3.org/2000/svg" '
        'xmlns:xlink="http://www.w3.org/1999/xlink">'
    )
    box = re.search(r'viewBox="([^"]*)"', svg)
    assert box is not None, "matplotlib writes a viewBox"
    return head.format(box[1]) + svg[svg.index(">") + 1 :].strip()
