"""What a model reads, in which order: weights are not sizes (as in arXiv:2005.14165, table 2.2).

A phase draws a number of bytes, shared among the sources by weight. A source that has less than
its share is read again, each time in another order, and one that has more is read in part. Several
phases, one after the other, are a curriculum.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from jielong.core.errors import ConfigError
from jielong.core.seeds import derive

MOST_EPOCHS = 4
"""About as often a text may be read and be nearly as good as a fresh one (arXiv:2305.16264)."""
_REFUSED_EPOCHS = 8


@dataclass(frozen=True, kw_only=True)
class PhaseConfig:
    """`budget_mb` of text, by `weights` of the sources; those that are not named take no part."""

    budget_mb: float
    weights: dict[str, float] = field(default_factory=dict)
    allow_repeat: bool = False  # read a source more than eight times if that is what it takes

    def __post_init__(self) -> None:
        if not self.budget_mb > 0:
            raise ValueError(f"budget_mb: {self.budget_mb}: must be above 0")
        for name, weight in self.weights.items():
            if weight < 0:
                raise ValueError(f"weights.{name}: {weight}: must not be negative")
        if not sum(self.weights.values()) > 0:
            raise ValueError("weights: sum to 0: give at least one source a weight above 0")


class Drawn(NamedTuple):
    """How much of one source a phase reads."""

    source: str
    size: int  # bytes that it has
    share: float  # of the phase's bytes
    epochs: float


def table(phase: PhaseConfig, sizes: Mapping[str, int], where: str) -> list[Drawn]:
    """What the weights mean, given the bytes of each source.

    Raises `ConfigError` for a weight on a source that has no text, and for more than eight epochs.
    """
    total = sum(phase.weights.values())
    rows = []
    for source, weight in phase.weights.items():
        if weight == 0:
            continue
        if not sizes.get(source):
            known = ", ".join(name for name, size in sizes.items() if size)
            raise ConfigError(
                f"{where}.weights.{source}: has no text to train on: choose from {known}"
            )
        share = weight / total
        epochs = share * phase.budget_mb * 1e6 / sizes[source]
        if epochs > _REFUSED_EPOCHS and not phase.allow_repeat:
            raise ConfigError(
                f"{where}.weights.{source}: {epochs:.1f} epochs of {sizes[source] / 1e6:.2f} MB, "
                f"and more than {_REFUSED_EPOCHS} are learned by heart: lower the weight or "
                f"budget_mb, or set {where}.allow_repeat = true"
            )
        rows.append(Drawn(source, sizes[source], share, epochs))
    return rows


def order(
    rows: Sequence[Drawn], ids: Sequence[str], sources: Sequence[str], sizes: np.ndarray, seed: int
) -> np.ndarray:
    """Which document is read when: numbers of documents, some of them several times. # (N,) uint32

    `ids`, `sources` and `sizes` (bytes) describe the documents. Each source is spread evenly over
    the phase, its epochs one after the other.
    """
    times: list[np.ndarray] = []
    numbers: list[np.ndarray] = []
    for row in rows:
        mine = [number for number, source in enumerate(sources) if source == row.source]
        drawn = _draw(mine, ids, sizes, row, seed)
        read = np.cumsum(sizes[drawn])
        times.append((read - sizes[drawn] / 2) / read[-1])
        numbers.append(drawn)
    joined = np.concatenate(numbers)
    return joined[np.argsort(np.concatenate(times), kind="stable")].astype(np.uint32)


def _draw(
    mine: Sequence[int], ids: Sequence[str], sizes: np.ndarray, row: Drawn, seed: int
) -> np.ndarray:
    """One source's documents in the order of reading; the last epoch stops at the share."""
    drawn: list[int] = []
    left = row.epochs * row.size
    epoch = 0
    while left > 0:
        for number in sorted(mine, key=lambda n: derive(seed, "epoch", epoch, ids[n])):
            if left <= 0:
                break
            drawn.append(number)
            left -= int(sizes[number])
        epoch += 1
    return np.array(drawn, dtype=np.int64)
