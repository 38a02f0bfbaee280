"""Is the reward model any good? One page of numbers from scores and rankings of K answers a prompt.

Accuracy alone hides that a model merely likes long answers, is overconfident, or ignores what the
labels reward. Beside it stand the length baselines, calibration, and how far the scores follow each
feature of a noise-free judge, next to that judge's own correlation. Every prompt weighs the same,
and prompts are what the bootstrap draws again, or groups of prompts where `groups` names them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jielong.core.errors import DataError
from jielong.evaluation.statistics import (
    DRAWS,
    Groups,
    Interval,
    bootstrap,
    bootstrap_mean,
    spearman,
)

Floats = NDArray[np.float64]

BINS = 10
SCORE_GAPS = (0.0, 0.25, 0.5, 1.0, 2.0, np.inf)


@dataclass(frozen=True, kw_only=True)
class RankedScores:
    """K answers to each of P prompts: what the model scored and what the labels say. # (P, K)."""

    scores: Floats
    ranks: Floats  # smaller is better, equal is a tie, NaN was not ranked
    lengths: Floats  # tokens
    gold: Floats | None = None  # score of a noise-free judge, where there is one
    features: Mapping[str, Floats] = field(default_factory=dict)  # the parts of that judge's score
    groups: Groups | None = None  # (P,): prompts of one number are about the same thing

    def __post_init__(self) -> None:
        """Refuse arrays of different shapes and prompts without any strict order."""
        shape = self.scores.shape
        others = {"ranks": self.ranks, "lengths": self.lengths, **self.features}
        others |= {} if self.gold is None else {"gold": self.gold}
        if self.groups is not None and self.groups.shape != shape[:1]:
            raise DataError(f"groups: shape {self.groups.shape}: give one number a prompt")
        for name, values in others.items():
            if values.shape != shape or len(shape) != 2:
                raise DataError(f"{name}: shape {values.shape}: give (prompts, answers), as scores")
        if not np.isfinite(self.scores).all():
            raise DataError("scores: not all finite: the reward model is broken, train it again")
        if not (_pairs(self.ranks).any()):
            raise DataError("ranks: no prompt has a strict order: nothing can be measured")


def reward_report(
    data: RankedScores, *, ceiling: float | None = None, draws: int = DRAWS, seed: int = 0
) -> dict[str, Any]:
    """All of the page's numbers, ready for JSON; estimates carry `low` and `high` of 95 %.

    `ceiling` is what the labels allow (agreement of annotators, or a model fitted on the true
    features); it is passed through to be shown beside the accuracy.
    """
    pairs = _Pairs.of(data.ranks, data.groups)
    gaps = pairs.gaps(data.scores)
    options = {"draws": draws, "seed": seed}
    report: dict[str, Any] = {
        "n": pairs.prompts,
        "answers_per_prompt": data.scores.shape[1],
        "pairs": int(pairs.strict.sum()),
        "pair_accuracy": _accuracy(pairs, gaps, **options).to_dict(),
        "best_vs_worst": _best_vs_worst(data, **options).to_dict(),
        "log_loss": pairs.mean(np.logaddexp(0.0, -gaps), **options).to_dict(),
        "calibration_error": _calibration_error(pairs, gaps, **options).to_dict(),
        "reliability": _reliability(pairs, gaps),
        "by_score_gap": _by_score_gap(pairs, gaps),
        "by_rank_gap": _by_rank_gap(pairs, gaps, data.ranks),
        "spearman": _mean_correlation(data, data.scores, -data.ranks, **options),
        "length": _length(pairs, data, **options),
        "ceiling": ceiling,
    }
    if data.gold is not None:
        judged = _Pairs.of(-data.gold, data.groups)
        judged_gaps = judged.gaps(data.scores)
        report["gold_pair_accuracy"] = _accuracy(judged, judged_gaps, **options).to_dict()
        report["gold_spearman"] = _mean_correlation(data, data.scores, data.gold, **options)
        report["gold_length_baseline"] = _length_baseline(judged, data.lengths, **options).to_dict()
        report["features"] = {
            name: {
                "model": _mean_correlation(data, data.scores, values, **options),
                "gold": _mean_correlation(data, data.gold, values, **options),
            }
            for name, values in data.features.items()
        }
    return report


@dataclass(frozen=True)
class _Pairs:
    """The strictly ordered pairs of each prompt; prompts without any are left out."""

    strict: NDArray[np.bool_]  # (prompts, K, K): the first answer is better than the second
    kept: NDArray[np.bool_]  # (all prompts,)
    groups: Groups  # (prompts,)

    @classmethod
    def of(cls, ranks: Floats, groups: Groups | None = None) -> _Pairs:
        strict = _pairs(ranks)
        kept = np.asarray(strict.any(axis=(1, 2)))
        groups = np.arange(len(ranks)) if groups is None else groups
        return cls(strict[kept], kept, groups[kept])

    @property
    def prompts(self) -> int:
        return len(self.strict)

    def gaps(self, values: Floats) -> Floats:
        """Value of the first answer minus the second's. # (P, K) -> (prompts, K, K)."""
        kept = values[self.kept]
        return kept[:, :, None] - kept[:, None, :]

    def per_prompt(self, values: Floats) -> Floats:
        """Mean over a prompt's strict pairs. # (prompts, K, K) -> (prompts,)."""
        return (values * self.strict).sum(axis=(1, 2)) / self.strict.sum(axis=(1, 2))

    def mean(self, values: Floats, *, draws: int, seed: int) -> Interval:
        return bootstrap_mean(self.per_prompt(values), self.groups, draws=draws, seed=seed)


def _pairs(ranks: Floats) -> NDArray[np.bool_]:
    return ranks[:, :, None] < ranks[:, None, :]  # a comparison with NaN is False


def _hits(gaps: Floats) -> Floats:
    return np.where(gaps == 0, 0.5, gaps > 0).astype(np.float64)


def _accuracy(pairs: _Pairs, gaps: Floats, *, draws: int, seed: int) -> Interval:
    return pairs.mean(_hits(gaps), draws=draws, seed=seed)


def _best_vs_worst(data: RankedScores, *, draws: int, seed: int) -> Interval:
    """The top-ranked answers against the bottom-ranked; it flatters, so it never stands alone."""
    ranked = np.isfinite(data.ranks)
    best = data.ranks == np.where(ranked, data.ranks, np.inf).min(axis=1, keepdims=True)
    worst = data.ranks == np.where(ranked, data.ranks, -np.inf).max(axis=1, keepdims=True)
    pairs = _Pairs.of(data.ranks, data.groups)
    extreme = best[:, :, None] & worst[:, None, :]
    extremes = _Pairs(pairs.strict & extreme[pairs.kept], pairs.kept, pairs.groups)
    return _accuracy(extremes, extremes.gaps(data.scores), draws=draws, seed=seed)


def _bin_sums(pairs: _Pairs, gaps: Floats) -> Floats:
    """Per prompt and bin of p = sigmoid(gap): weight, predicted, observed. # (prompts, 3, BINS).

    A pair enters both ways round, as p that came true and 1 - p that did not, so that nothing
    depends on which answer was named first. A prompt's pairs share the weight one.
    """
    share = 0.5 / pairs.strict.sum(axis=(1, 2))
    prompt, first, second = np.nonzero(pairs.strict)
    p = 1 / (1 + np.exp(-np.clip(gaps[prompt, first, second], -700, 700)))
    prompt, p = np.concatenate([prompt, prompt]), np.concatenate([p, 1 - p])
    observed = np.repeat([1.0, 0.0], len(p) // 2)
    place = prompt * BINS + np.minimum((p * BINS).astype(np.int64), BINS - 1)
    sums = [
        np.bincount(place, weights=share[prompt] * values, minlength=pairs.prompts * BINS)
        for values in (np.ones_like(p), p, observed)
    ]
    return np.stack([column.reshape(-1, BINS) for column in sums], axis=1).astype(np.float64)


def _calibration_error(pairs: _Pairs, gaps: Floats, *, draws: int, seed: int) -> Interval:
    """ECE: the mean distance of predicted from observed over the bins, weighted by their share."""

    def error(totals: Floats) -> Floats:
        weight, predicted, observed = np.moveaxis(totals.reshape(-1, 3, BINS), 1, 0)
        return np.abs(predicted - observed).sum(axis=1) / weight.sum(axis=1)

    sums = _bin_sums(pairs, gaps).reshape(pairs.prompts, -1)
    return bootstrap(sums, error, pairs.groups, draws=draws, seed=seed)


def _reliability(pairs: _Pairs, gaps: Floats) -> list[dict[str, float]]:
    weight, predicted, observed = _bin_sums(pairs, gaps).sum(axis=0)
    return [
        {
            "share": float(weight[i] / weight.sum()),
            "predicted": float(predicted[i] / weight[i]),
            "observed": float(observed[i] / weight[i]),
        }
        for i in range(BINS)
        if weight[i] > 0
    ]


def _by_score_gap(pairs: _Pairs, gaps: Floats) -> list[dict[str, float | None]]:
    """Accuracy where the model is unsure and where it is sure."""
    size = np.abs(gaps)
    rows: list[dict[str, float | None]] = []
    for low, high in pairwise(SCORE_GAPS):
        inside = pairs.strict & (size >= low) & (size < high)
        rows.append({"from": low, "to": None if high == np.inf else high, **_share(inside, gaps)})
    return [row for row in rows if row["pairs"]]


def _by_rank_gap(pairs: _Pairs, gaps: Floats, ranks: Floats) -> list[dict[str, float]]:
    """Accuracy by how many places lie between the two answers, among the places that are taken."""
    places = np.array([_places(row) for row in ranks[pairs.kept]])
    distance = np.where(pairs.strict, places[:, None, :] - places[:, :, None], 0.0)
    found = [int(value) for value in np.unique(distance) if value > 0]
    return [{"gap": gap, **_share(distance == gap, gaps)} for gap in found]


def _places(ranks: Floats) -> Floats:
    places = np.full(len(ranks), np.nan)
    ranked = np.isfinite(ranks)
    places[ranked] = np.unique(ranks[ranked], return_inverse=True)[1]
    return places


def _share(inside: NDArray[np.bool_], gaps: Floats) -> dict[str, float]:
    pairs = int(inside.sum())
    return {"pairs": pairs, "accuracy": float(_hits(gaps)[inside].mean()) if pairs else 0.0}


def _length(pairs: _Pairs, data: RankedScores, *, draws: int, seed: int) -> dict[str, Any]:
    """What length alone knows of the labels, and how much the scores follow it."""
    options = {"draws": draws, "seed": seed}
    gaps = pairs.gaps(data.lengths)
    slope = _fit_slope(pairs, gaps)
    return {
        "longer_wins": _accuracy(pairs, gaps, **options).to_dict(),
        "logistic_accuracy": _length_baseline(pairs, data.lengths, **options).to_dict(),
        "logistic_log_loss": pairs.mean(np.logaddexp(0.0, -slope * gaps), **options).to_dict(),
        "slope_per_token": slope,
        "correlation": _mean_correlation(data, data.scores, data.lengths, **options),
    }


def _length_baseline(pairs: _Pairs, lengths: Floats, *, draws: int, seed: int) -> Interval:
    """Accuracy of the logistic fit on the length difference: longer wins, or shorter wins.

    Its one number is fitted on the very pairs it is judged on, which favours the baseline.
    """
    gaps = pairs.gaps(lengths)
    return _accuracy(pairs, _fit_slope(pairs, gaps) * gaps, draws=draws, seed=seed)


def _fit_slope(pairs: _Pairs, gaps: Floats, ridge: float = 1e-6) -> float:
    """Maximum likelihood of P(better) = sigmoid(slope * gap) by Newton's method."""
    scale = float(gaps[pairs.strict].std()) or 1.0
    x, slope = gaps / scale, 0.0
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(slope * x, -700, 700)))
        gradient = pairs.per_prompt((1 - p) * x).mean() - ridge * slope
        curvature = pairs.per_prompt(p * (1 - p) * x * x).mean() + ridge
        slope += float(np.clip(gradient / curvature, -1.0, 1.0))
    return slope / scale


def _mean_correlation(
    data: RankedScores, a: Floats, b: Floats, *, draws: int, seed: int
) -> dict[str, float] | None:
    """Spearman within each prompt, averaged; prompts where a side does not vary say nothing."""
    values = []
    for x, y in zip(a, b, strict=True):
        both = np.isfinite(x) & np.isfinite(y)
        values.append(spearman(x[both], y[both]) if both.sum() > 1 else np.nan)
    found = np.array(values, dtype=np.float64)
    defined = np.isfinite(found)
    if not defined.any():
        return None
    groups = None if data.groups is None else data.groups[defined]
    mean = bootstrap_mean(found[defined], groups, draws=draws, seed=seed)
    return {**mean.to_dict(), "n": int(defined.sum())}
