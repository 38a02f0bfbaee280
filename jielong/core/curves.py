"""Curves as text: each character is a Braille pattern, two dots wide and four high."""

from collections.abc import Sequence
from itertools import pairwise

Point = tuple[float, float]

BLANK = 0x2800
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of each dot of a pattern, by row from the top and by column (Unicode, block 2800)."""


def curve(points: Sequence[Point], width: int, height: int) -> list[str]:
    """`height` lines of `width` characters: the points (x, y) from left to right, joined.

    Points that share a column of dots are shown by their mean. The lowest y is at the bottom and
    the highest at the top; a level line is in the middle.
    """
    columns = _columns(points, 2 * width)
    means = [y for _, y in columns]
    low, high = min(means, default=0.0), max(means, default=0.0)
    most = 4 * height - 1

    def row(y: float) -> int:
        return round((high - y) / (high - low) * most) if high > low else most // 2

    cells = [[BLANK] * width for _ in range(height)]

    def mark(column: int, dot: int) -> None:
        cells[dot // 4][column // 2] |= DOTS[dot % 4][column % 2]

    for column, y in columns[:1]:
        mark(column, row(y))
    for (first, y), (last, z) in pairwise(columns):
        before = row(y)
        for column in range(first + 1, last + 1):
            now = row(y + (z - y) * (column - first) / (last - first))
            # From beside the dot before to this one, so that a steep line has no gaps.
            step = 1 if now >= before else -1
            for dot in range(before + step, now, step) if now != before else ():
                mark(column, dot)
            mark(column, now)
            before = now
    return ["".join(map(chr, line)) for line in cells]


def _columns(points: Sequence[Point], count: int) -> list[tuple[int, float]]:
    """The mean y of each column of dots that has a point."""
    if not points:
        return []
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    found: dict[int, list[float]] = {}
    for x, y in points:
        place = int((x - left) / (right - left) * (count - 1)) if right > left else 0
        found.setdefault(place, []).append(y)
    return [(place, sum(ys) / len(ys)) for place, ys in sorted(found.items())]
