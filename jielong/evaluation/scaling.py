"""The loss of a model before it is trained, from its size and from how much text it reads.

The law is L(N, D) = ((Nc / N)^(alphaN / alphaD) + Dc / D)^alphaD (arXiv:2001.08361, eq. 1.5): what
a small model misses weighs the more, the more there was to read. L is in bits per byte, and D
counts bytes, so that it means the same whatever the vocabulary; N leaves the embedding out, which
at this scale would be most of it. The sum of two separate terms (arXiv:2203.15556, eq. 2) fitted
our runs worse: see `docs/en/plan.md`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jielong.core import config as configs
from jielong.core.errors import DataError

SHIPPED = Path(__file__).with_name("scaling.toml")
UNIT = 1e6
"""N and D are counted in millions, which leaves constants that can be read."""
PATIENCE = 15.39
"""Epochs after which reading again has brought 1 - 1/e of all it can (arXiv:2305.16264, R_D*)."""
DELTA = 1e-2
"""Relative errors beyond this one count by their size, no longer by its square."""
_EXPONENTS = np.array([[0.05, 1.5], [0.03, 1.0]])  # where those of the size, and of all, lie
_FEWEST = 5  # one more than there are constants
_ROUNDS = 5

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class Law:
    """Bits per byte: (`size` / N^`size_exponent` + `text` / D)^`exponent`, in millions of each."""

    size: float
    size_exponent: float
    text: float
    exponent: float

    def loss(self, parameters: float, read_bytes: float) -> float:
        """What a model with so many inner parameters reaches on fresh text of so many bytes."""
        missed = self.size * (parameters / UNIT) ** -self.size_exponent
        return (missed + self.text / (read_bytes / UNIT)) ** self.exponent


@dataclass(frozen=True, kw_only=True)
class Study:
    """A law, and the runs that it was fitted to.

    Each of `points` is (inner parameters, bytes read, bits per byte); `corpus` is the SHA-256 of
    the tokens that were read, `corpus_bytes` the text they stand for.
    """

    measured: str
    corpus: str
    corpus_bytes: int
    vocab_size: int
    law: Law
    points: tuple[tuple[float, ...], ...]


@cache
def shipped() -> Study:
    """The study that comes with the package."""
    return configs.load(Study, SHIPPED)


def fresh_worth(read_bytes: float, unique_bytes: float) -> float:
    """The fresh text that is worth as much as reading `unique_bytes` again and again.

    U + U R* (1 - exp(-(D/U - 1) / R*)), D bytes being read of U (arXiv:2305.16264, eq. 5).
    """
    again = max(0.0, read_bytes / unique_bytes - 1)
    if not again:
        return read_bytes
    return unique_bytes * (1 + PATIENCE * (1 - math.exp(-again / PATIENCE)))


def fit(points: Sequence[Sequence[float]]) -> Law:
    """The law with the smallest sum of Huber losses of relative errors over (N, D, L).

    Once the exponents are given, L^(1 / exponent) is linear in the rest; so only these two are
    searched: on a grid, then from neighbour to neighbour, in smaller steps where none is better.
    Raises `DataError` for too few points.
    """
    if len({tuple(point) for point in points}) < _FEWEST:
        raise DataError(f"scaling: {len(points)} runs: give at least {_FEWEST} different ones")
    sizes, texts, losses = np.array(points, dtype=np.float64).T

    def judged(exponents: Floats) -> tuple[float, list[float]]:
        size_exponent, exponent = exponents.tolist()
        terms = np.stack([(sizes / UNIT) ** -size_exponent, UNIT / texts], axis=1)
        error, scales = _scales(terms / losses[:, None] ** (1 / exponent), exponent)
        return error, [*scales.tolist(), size_exponent, exponent]

    low, high = _EXPONENTS.T
    step = (high - low) / 16
    best = min(judged(low + step * place) for place in np.ndindex(17, 17))
    while (step > 1e-5).any():
        around = (np.array(best[1][2:]) + step * (np.array(at) - 1) for at in np.ndindex(3, 3))
        found = min(judged(np.clip(exponents, low, high)) for exponents in around)
        if found[0] < best[0]:
            best = found
        else:
            step = step / 2
    size, text, size_exponent, exponent = best[1]
    return Law(size=size, size_exponent=size_exponent, text=text, exponent=exponent)


def _scales(terms: Floats, exponent: float) -> tuple[float, Floats]:
    """The Huber error of (terms @ scales)^exponent = 1, and the scales with the smallest one.

    Gauss-Newton; errors beyond `DELTA` are weighted down until their squares count like their
    sizes (iteratively reweighted least squares).
    """
    sums, scales, errors = np.ones(len(terms)), np.zeros(2), np.zeros(len(terms))
    for _ in range(_ROUNDS):
        slopes = exponent * sums ** (exponent - 1)
        roots = slopes * np.sqrt(DELTA / np.maximum(np.abs(errors), DELTA))
        target = sums - (sums**exponent - 1) / slopes
        scales = _not_negative(terms * roots[:, None], target * roots)
        sums = np.maximum(terms @ scales, 1e-9)
        errors = sums**exponent - 1
    near = np.minimum(np.abs(errors), DELTA)
    return float((near * (np.abs(errors) - near / 2)).sum()), scales


def _not_negative(terms: Floats, target: Floats) -> Floats:
    """Least squares of two columns with no scale below 0: one of them alone where both would."""
    both = np.linalg.lstsq(terms, target, rcond=None)[0]
    if (both >= 0).all():  # where no bound is felt nothing can be better
        return both
    alone = np.maximum(terms.T @ target, 0) / np.square(terms).sum(axis=0)
    rests = [float(np.square(terms[:, i] * alone[i] - target).sum()) for i in range(2)]
    alone[int(np.argmax(rests))] = 0.0
    return alone
