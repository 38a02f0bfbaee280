"""Estimates with intervals: win rates, best-of-n, rank correlation, and the bootstrap behind them.

Answers to one prompt resemble each other, and so do prompts about one word: what is drawn again is
the prompt, or the group of prompts where `groups` names it, never the answer. Every statistic here
is a function of sums over clusters; a bootstrap draw is then one row of a matrix product, and ten
thousand draws take a fraction of a second.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from jielong.core.errors import DataError

Floats = NDArray[np.float64]
Groups = NDArray[np.int64]
DRAWS = 10_000
CHUNK = 500  # draws resampled at once; bounds memory


@dataclass(frozen=True)
class Interval:
    """An estimate with the ends of its confidence interval."""

    estimate: float
    low: float
    high: float

    @property
    def ends(self) -> tuple[float, float]:
        """(low, high)."""
        return self.low, self.high

    def to_dict(self) -> dict[str, float]:
        """Plain values for JSON."""
        return {"estimate": self.estimate, "low": self.low, "high": self.high}


def wilson(successes: float, n: int, confidence: float = 0.95) -> Interval:
    """Wilson score interval of a proportion; sensible at 0 and n, where the normal one is not."""
    if not 0 <= successes <= n or n == 0:
        raise DataError(f"proportion: {successes} of {n}: count at least one trial, hits among it")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return Interval(p, max(0.0, centre - half), min(1.0, centre + half))


def bootstrap(
    sums: Floats,
    statistic: Callable[[Floats], Floats],
    groups: Groups | None = None,
    *,
    draws: int = DRAWS,
    seed: int = 0,
    confidence: float = 0.95,
) -> Interval:
    """Percentile interval of `statistic` when clusters (rows of `sums`) are drawn with replacement.

    `sums` holds what each cluster adds to every total; `statistic` maps totals (..., columns) to
    values (...) and sees the totals of all draws at once. A mean is [value, 1] and the ratio of the
    two columns; a paired difference keeps both models' values in one row. Rows of one group, by
    `groups` (clusters,), are drawn together.
    """
    if len(sums) == 0:
        raise DataError("bootstrap: no prompts: give at least one")
    if groups is not None:
        places = np.unique(groups, return_inverse=True)[1]
        columns = [np.bincount(places, weights=column) for column in sums.T]
        sums = np.stack(columns, axis=1, dtype=np.float64)
    estimate = float(statistic(sums.sum(axis=0)[None])[0])
    rng = np.random.default_rng(seed)
    values = [
        statistic(_draw_counts(rng, min(CHUNK, draws - start), len(sums)) @ sums)
        for start in range(0, draws, CHUNK)
    ]
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(np.concatenate(values), [tail, 1 - tail])
    return Interval(estimate, float(low), float(high))


def bootstrap_mean(
    values: Floats, groups: Groups | None = None, *, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """Mean of `values` (n,); those of one group (n,) are drawn together."""
    sums = np.stack([values, np.ones(len(values))], axis=1)
    return bootstrap(sums, ratio, groups, draws=draws, seed=seed)


def number_groups(names: Sequence[str]) -> Groups:
    """Each name's number from 0 among the different ones. # (n,)."""
    return np.unique(np.array(names), return_inverse=True)[1]


def ratio(totals: Floats) -> Floats:
    """First column over second: the statistic of means, rates and bits per byte."""
    with np.errstate(invalid="ignore"):
        return totals[:, 0] / totals[:, 1]


def wins(a: Floats, b: Floats) -> Floats:
    """Share of the pairs (one sample of a, one of b) that a wins, ties counting half; by prompt."""
    if a.ndim != 2 or b.ndim != 2 or len(a) != len(b):
        raise DataError(f"win rate: scores {a.shape} and {b.shape}: give (prompts, samples) each")
    left, right = a[:, :, None], b[:, None, :]
    return ((left > right) + 0.5 * (left == right)).mean(axis=(1, 2))


def win_rate(
    a: Floats, b: Floats, groups: Groups | None = None, *, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """How often a's answer outscores b's to the same prompt. # a: (P, S), b: (P, S')."""
    return bootstrap_mean(wins(a, b), groups, draws=draws, seed=seed)


def length_controlled_win_rate(
    scores: tuple[Floats, Floats],
    lengths: tuple[Floats, Floats],
    groups: Groups | None = None,
    *,
    draws: int = 1000,
    seed: int = 0,
) -> Interval:
    """Win rate read off at equal length: the logistic fit win ~ a + b * (length difference).

    Every pair of samples is one observation, in units of the spread of the differences. A slight
    ridge on b keeps the fit finite when length alone decides everything.
    """
    (a, b), (length_a, length_b) = scores, lengths
    _same_shape("length-controlled win rate", a, length_a)
    _same_shape("length-controlled win rate", b, length_b)
    left, right = a[:, :, None], b[:, None, :]
    outcome = ((left > right) + 0.5 * (left == right)).reshape(len(a), -1)
    gap = (length_a[:, :, None] - length_b[:, None, :]).reshape(len(a), -1)
    gap = gap / (gap.std() or 1.0)
    rng = np.random.default_rng(seed)
    groups = np.unique(np.arange(len(a)) if groups is None else groups, return_inverse=True)[1]
    counts = _draw_counts(rng, draws, int(groups.max()) + 1)[:, groups]
    estimate = _equal_length_win(outcome, gap, np.ones((1, len(a))))
    values = [
        _equal_length_win(outcome, gap, part) for part in np.array_split(counts, 20) if len(part)
    ]
    low, high = np.quantile(np.concatenate(values), [0.025, 0.975])
    return Interval(float(estimate[0]), float(low), float(high))


def _equal_length_win(outcome: Floats, gap: Floats, weights: Floats, ridge: float = 1e-3) -> Floats:
    """Newton's method for one fit per row of prompt weights; sigmoid of the intercepts."""
    a = np.zeros(len(weights))
    b = np.zeros(len(weights))
    total = weights.sum(axis=1) * outcome.shape[1]
    weights = weights[:, :, None] / total[:, None, None]
    for _ in range(12):
        p = 1 / (1 + np.exp(-(a[:, None, None] + b[:, None, None] * gap)))
        error, spread = weights * (outcome - p), weights * p * (1 - p)
        gradient_a, gradient_b = error.sum((1, 2)), (error * gap).sum((1, 2)) - ridge * b
        h_aa = spread.sum((1, 2)) + 1e-9
        h_ab, h_bb = (spread * gap).sum((1, 2)), (spread * gap * gap).sum((1, 2)) + ridge
        determinant = h_aa * h_bb - h_ab * h_ab
        a = np.clip(a + (h_bb * gradient_a - h_ab * gradient_b) / determinant, -20, 20)
        b = np.clip(b + (h_aa * gradient_b - h_ab * gradient_a) / determinant, -20, 20)
    return 1 / (1 + np.exp(-a))


@dataclass(frozen=True)
class BestOfN:
    """What choosing the best of n samples by the proxy is worth."""

    n: int
    kl_nats: float  # log n - (n-1)/n, an upper bound (arXiv:2112.09332)
    proxy: Interval
    gold: Interval

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        parts = {"proxy": self.proxy.to_dict(), "gold": self.gold.to_dict()}
        return {"n": self.n, "kl_nats": self.kl_nats, **parts}


def best_of_n(
    proxy: Floats,
    gold: Floats,
    sizes: Sequence[int],
    groups: Groups | None = None,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[BestOfN]:
    """Expected proxy and gold of the proxy's choice among n, from N samples a prompt. # (P, N).

    Unbiased over all subsets of size n at once (arXiv:2112.09332, eq. 1): with a prompt's samples
    sorted by proxy, sum over i >= n of C(i-1, n-1) / C(N, n) * value_(i). Equal proxies share the
    mean of their gold values, as choosing among them at random would.
    """
    _same_shape("best of n", proxy, gold)
    samples = proxy.shape[1]
    order = np.argsort(proxy, axis=1, kind="stable")
    ranked = {
        "proxy": np.take_along_axis(proxy, order, axis=1),
        "gold": np.take_along_axis(_mean_over_ties(proxy, gold), order, axis=1),
    }
    results = []
    for n in sizes:
        if not 1 <= n <= samples:
            raise DataError(f"best of n: {n} of {samples} samples: choose 1..{samples}")
        weights = np.array([math.comb(i - 1, n - 1) for i in range(1, samples + 1)], dtype=float)
        weights /= math.comb(samples, n)
        interval = {
            name: bootstrap_mean(values @ weights, groups, draws=draws, seed=seed)
            for name, values in ranked.items()
        }
        results.append(BestOfN(n, math.log(n) - (n - 1) / n, **interval))
    return results


def average_ranks(values: Floats) -> Floats:
    """Ranks from 1, ties sharing the mean of theirs. # (n,)."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[place]


def pearson(x: Floats, y: Floats) -> float:
    """Correlation, NaN when either side does not vary."""
    _same_shape("correlation", x, y)
    x, y = x - x.mean(), y - y.mean()
    scale = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / scale if scale > 0 else math.nan


def spearman(x: Floats, y: Floats) -> float:
    """Correlation of ranks, NaN when either side does not vary."""
    _same_shape("correlation", x, y)
    return pearson(average_ranks(x), average_ranks(y))


def _mean_over_ties(proxy: Floats, gold: Floats) -> Floats:
    same = proxy[:, :, None] == proxy[:, None, :]  # (P, N, N)
    return (same * gold[:, None, :]).sum(axis=2) / same.sum(axis=2)


def _draw_counts(rng: np.random.Generator, draws: int, clusters: int) -> Floats:
    """How often each cluster is drawn. # (draws, clusters)."""
    picks = rng.integers(clusters, size=(draws, clusters)) + clusters * np.arange(draws)[:, None]
    counts = np.bincount(picks.ravel(), minlength=draws * clusters)
    return counts.reshape(draws, clusters).astype(np.float64)


def _same_shape(what: str, a: Floats, b: Floats) -> None:
    if a.shape != b.shape:
        raise DataError(f"{what}: shapes {a.shape} and {b.shape}: give one value for each other")
