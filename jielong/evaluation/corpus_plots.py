"""The corpus report's figures: what a text is made of, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator, PercentFormatter, StrMethodFormatter
from numpy.typing import NDArray

from jielong.evaluation.plots import COLOURS, INK, MUTED, PAPER, drawing

_BINS_PER_OCTAVE = 3
_THOUSANDS = StrMethodFormatter("{x:,.0f}")


def shares(
    name: str,
    rows: Mapping[str, Mapping[str, float]],
    colours: Mapping[str, str],
    title: str,
    ends: Sequence[str] = (),
) -> str:
    """A bar of 100 % for each row, cut into parts; `ends` is written behind the bars."""
    with drawing(name, 0.42 + 0.29 * len(rows), title) as (figure, result):
        axis = figure.subplots()
        for place, parts in enumerate(rows.values()):
            total, left = sum(parts.values()) or 1.0, 0.0
            for part, value in parts.items():
                colour = COLOURS[colours[part]]
                axis.barh(place, value / total, 0.62, left, color=colour, edgecolor=COLOURS[PAPER])
                left += value / total
        for place, text in enumerate(ends):
            _write(axis, text, (1.0, place), MUTED)
        _row_axis(axis, list(rows))
        axis.set_xlim(0, 1.16 if ends else 1.0)
        axis.set_xticks([0, 0.25, 0.5, 0.75, 1.0])
        axis.xaxis.set_major_formatter(PercentFormatter(1.0, 0, " %"))
        axis.grid(visible=False)
    return result()


def funnel(name: str, steps: Sequence[tuple[str, int, int]], title: str) -> str:
    """What is left after each step, and in paler what the step took: (step, before, after)."""
    with drawing(name, 0.2 + 0.31 * len(steps), title) as (figure, result):
        axis = figure.subplots()
        most = max((before for _, before, _ in steps), default=0) or 1
        for place, (_, before, after) in enumerate(steps):
            axis.barh(place, after, 0.64, color=COLOURS["ppo-ptx"])
            axis.barh(place, max(0, before - after), 0.64, after, color=COLOURS["rival"])
            lost = f"\u2003−{before - after:,}" if before > after else ""  # a space SVG keeps
            _write(axis, f"{after:,}{lost}", (max(before, after), place), INK)
        _row_axis(axis, [step for step, _, _ in steps])
        axis.set_xlim(0, 1.25 * most)
        axis.set_xticks([])
        axis.grid(visible=False)
    return result()


def counts(
    name: str, rows: Sequence[tuple[str, float, str]], title: str, colour: str = "base"
) -> str:
    """Horizontal bars from zero with a text behind each: (label, value, text)."""
    with drawing(name, 0.2 + 0.29 * len(rows), title) as (figure, result):
        axis = figure.subplots()
        for place, (_, value, text) in enumerate(rows):
            axis.barh(place, value, 0.62, color=COLOURS[colour])
            _write(axis, text, (value, place), INK)
        _row_axis(axis, [label for label, _, _ in rows])
        axis.set_xlim(0, 1.3 * (max(value for _, value, _ in rows) or 1))
        axis.set_xticks([])
        axis.grid(visible=False)
    return result()


def length_histograms(
    name: str, lengths: Mapping[str, NDArray[np.int64]], colours: Mapping[str, str]
) -> str:
    """One panel a row: how many of its texts have which length, on a logarithmic scale."""
    edges = _length_edges(np.concatenate(list(lengths.values())))
    with drawing(name, 0.35 + 1.05 * len(lengths), "lengths in characters") as (figure, result):
        axes = figure.subplots(len(lengths), 1, sharex=True, squeeze=False)[:, 0]
        for axis, (label, values) in zip(axes, lengths.items(), strict=True):
            found, _ = np.histogram(np.maximum(values, 1), edges)
            axis.stairs(found, edges, fill=True, color=COLOURS[colours[label]])
            axis.axvline(float(np.median(values)), color=COLOURS[INK], linewidth=0.9)
            axis.set_xscale("log")
            axis.set_title(label)
            _count_axis(axis)
            axis.xaxis.set_major_formatter(_THOUSANDS)
            axis.xaxis.set_minor_locator(NullLocator())
        axes[-1].set_xlabel("characters in a document")
    return result()


def similarities(name: str, found: Mapping[int, int], colour: str = "reward") -> str:
    """How alike near duplicates are to the text kept for them: percent of shingles -> count."""
    with drawing(name, 1.6, "similarity of near duplicates", width=4.2) as (figure, result):
        axis = figure.subplots()
        low = min(95, min(found) // 5 * 5)
        edges = np.arange(low, 101, 5)  # the last bin holds its right end too
        heights, _ = np.histogram(list(found), edges, weights=list(found.values()))
        axis.stairs(heights, edges / 100, fill=True, color=COLOURS[colour])
        axis.set_xlabel("shared shingles (Jaccard)")
        _count_axis(axis)
    return result()


def quality(
    name: str,
    kept: NDArray[np.float64],
    dropped: NDArray[np.float64],
    curve: tuple[NDArray[np.float64], NDArray[np.float64]] | None,
) -> str:
    """Left: documents by score, kept on dropped. Right: the share kept, and what it should be."""
    edges = np.linspace(0, 1, 21)
    stays, goes = (np.histogram(values, edges)[0] for values in (kept, dropped))
    with drawing(name, 2.3, "quality scores") as (figure, result):
        left, right = figure.subplots(1, 2)
        left.stairs(stays + goes, edges, fill=True, color=COLOURS["rival"])
        left.stairs(stays, edges, fill=True, color=COLOURS["ppo-ptx"])
        left.set_title("documents by score")
        _count_axis(left)
        some = stays + goes > 0
        if curve:
            right.plot(*curve, color=COLOURS[MUTED], linewidth=1.0, dashes=(4, 3))
        middle = (edges[1:] + edges[:-1]) / 2
        right.plot(middle[some], (stays / np.maximum(stays + goes, 1))[some], "o", markersize=4,
                   color=COLOURS["ppo-ptx"])  # fmt: skip
        right.set(title="share kept", xlim=(0, 1), ylim=(-0.03, 1.03))
        for axis in (left, right):
            axis.set_xlabel("score")
    return result()


def weights(name: str, rows: Sequence[tuple[str, float, float, str]]) -> str:
    """Share of the text (grey) against share of the training (coloured): (label, x, y, text)."""
    with drawing(name, 0.45 + 0.3 * len(rows), "size against weight") as (figure, result):
        axis = figure.subplots()
        most = max(max(size, weight) for _, size, weight, _ in rows) or 1.0
        for place, (_, size, weight, text) in enumerate(rows):
            axis.plot([size, weight], [place, place], color=COLOURS["rival"], linewidth=2)
            axis.plot(size, place, "o", color=COLOURS["base"], markersize=5)
            axis.plot(weight, place, "o", color=COLOURS["ppo"], markersize=6.5)
            _write(axis, text, (max(size, weight), place), MUTED, gap=8)
        _row_axis(axis, [label for label, _, _, _ in rows])
        axis.set_xlim(-0.012 * most, 1.2 * most)
        axis.xaxis.set_major_formatter(PercentFormatter(1.0, 0, " %"))
        axis.grid(visible=False, axis="y")
    return result()


def _length_edges(values: NDArray[np.int64]) -> NDArray[np.float64]:
    low = np.floor(np.log2(max(1, int(values.min()))))
    high = np.ceil(np.log2(int(values.max()) + 1.0))
    return 2.0 ** np.linspace(low, high, int(high - low) * _BINS_PER_OCTAVE + 1)


def _row_axis(axis: Axes, labels: Sequence[str]) -> None:
    axis.set_yticks(range(len(labels)), labels, color=COLOURS[INK])
    axis.set_ylim(len(labels) - 0.5, -0.5)
    axis.spines[["left", "bottom"]].set_visible(False)


def _count_axis(axis: Axes) -> None:
    axis.set_ylim(bottom=0)
    axis.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    axis.yaxis.set_major_formatter(_THOUSANDS)


def _write(axis: Axes, text: str, place: tuple[float, float], colour: str, gap: int = 5) -> None:
    axis.annotate(
        text, place, (gap, 0), textcoords="offset points", va="center", color=COLOURS[colour]
    )
