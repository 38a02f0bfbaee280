"""The loss of a model before it is trained, from its size and from how much text it reads.

The law is L(N, D) = E + A / N^alpha + B / D^beta (arXiv:2203.15556, eq. 2): what no model of this
kind gets rid of, what a small one misses, and what it has not read. L is in bits per byte, and D
counts bytes, so that it means the same whatever the vocabulary; N leaves the embedding out, which
at this scale would be most of it (arXiv:2001.08361, section 3).
"""

from __future__ import annotations

import itertools
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
"""N and D are counted in millions, which leaves A and B numbers that can be read."""
PATIENCE = 15.39
"""Epochs after which reading again has brought 1 - 1/e of all it can (arXiv:2305.16264, R_D*)."""
DELTA = 1e-2
"""Relative errors beyond this one count by their size, no longer by its square."""
_EXPONENTS = (0.05, 1.5)
_FEWEST = 6  # one more than there are constants

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class Law:
    """Bits per byte: `floor` + `size` / N^`size_exponent` + `text` / D^`text_exponent`."""

    floor: float
    size: float
    size_exponent: float
    text: float
    text_exponent: float

    def loss(self, parameters: float, read_bytes: float) -> float:
        """What a model with so many inner parameters reaches on fresh text of so many bytes."""
        missed = self.size * (parameters / UNIT) ** -self.size_exponent
        unread = self.text * (read_bytes / UNIT) ** -self.text_exponent
        return self.floor + missed + unread


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

    Once the exponents are given the rest is linear, so only these two are searched, on a grid that
    is made finer around the best place. Raises `DataError` for too few points.
    """
    if len({tuple(point) for point in points}) < _FEWEST:
        raise DataError(f"scaling: {len(points)} runs: give at least {_FEWEST} different ones")
    sizes, texts, losses = np.array(points, dtype=np.float64).T
    low, high = np.array([_EXPONENTS[0]] * 2), np.array([_EXPONENTS[1]] * 2)
    best: tuple[float, Floats] = (math.inf, np.zeros(5))
    while (high - low).max() > 1e-4:
        steps = (high - low) / 16
        axes = [np.arange(17) * step + start for step, start in zip(steps, low, strict=True)]
        for exponents in itertools.product(*axes):
            terms = np.stack(
                [
                    np.ones_like(losses),
                    (sizes / UNIT) ** -exponents[0],
                    (texts / UNIT) ** -exponents[1],
                ],
                axis=1,
            )
            error, scales = _linear(terms / losses[:, None])
            best = min(best, (error, np.array([*scales, *exponents])), key=lambda found: found[0])
        centre = best[1][3:]
        low = np.maximum(centre - 2 * steps, _EXPONENTS[0])
        high = np.minimum(centre + 2 * steps, _EXPONENTS[1])
    floor, size, text, size_exponent, text_exponent = best[1].tolist()
    return Law(
        floor=floor,
        size=size,
        size_exponent=size_exponent,
        text=text,
        text_exponent=text_exponent,
    )


def _linear(terms: Floats) -> tuple[float, Floats]:
    """The Huber error, and the scales, none negative, with which columns of `terms` best add to 1.

    Errors beyond `DELTA` are weighted down until their squares count like their sizes, and again
    (iteratively reweighted least squares).
    """
    errors, scales = np.zeros(len(terms)), np.zeros(terms.shape[1])
    for _ in range(3):
        roots = np.sqrt(DELTA / np.maximum(errors, DELTA))
        scales = _not_negative(terms * roots[:, None], roots)
        errors = np.abs(terms @ scales - 1)
    near = np.minimum(errors, DELTA)
    return float((near * (errors - near / 2)).sum()), scales


def _not_negative(terms: Floats, target: Floats) -> Floats:
    """Least squares with no scale below 0: of three columns, each set of them can be tried."""
    whole = np.linalg.lstsq(terms, target, rcond=None)[0]
    if (whole >= 0).all():  # where no bound is felt nothing can be better
        return whole
    best: tuple[float, Floats] = (math.inf, np.zeros_like(whole))
    for chosen in ([0, 1], [0, 2], [1, 2], [0], [1], [2]):
        scales = np.zeros_like(whole)
        scales[chosen] = np.linalg.lstsq(terms[:, chosen], target, rcond=None)[0]
        error = float(np.square(terms @ scales - target).sum())
        if (scales >= 0).all() and error < best[0]:
            best = (error, scales)
    return best[1]
