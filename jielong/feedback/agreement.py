"""How far rankings of the same answers agree, and how well a linear scorer could do on them."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from jielong.core.errors import DataError

Floats = NDArray[np.float64]
Ranks = Sequence[int | None]


def pairs(ranks: Ranks) -> list[tuple[int, int]]:
    """(better, worse) for every two answers of different rank; null ranks are left out."""
    known = [(i, rank) for i, rank in enumerate(ranks) if rank is not None]
    ordered = [
        (i, j) if first < second else (j, i)
        for (i, first), (j, second) in combinations(known, 2)
        if first != second
    ]
    return sorted(ordered)


def pairwise_agreement(rankings: Sequence[Sequence[Ranks]]) -> float:
    """The share of answer pairs that two annotators put in the same order.

    `rankings` holds for each prompt the ranks by each of its annotators. Pairs that either of the
    two tied do not count.
    """
    same = total = 0
    for by_annotator in rankings:
        for first, second in combinations([set(pairs(ranks)) for ranks in by_annotator], 2):
            agreed = len(first & second)
            total += agreed + len({(j, i) for i, j in first} & second)
            same += agreed
    if not total:
        raise DataError("agreement: no pair was ordered by two annotators: let prompts overlap")
    return same / total


def differences(features: Floats, rankings: Sequence[Ranks]) -> Floats:
    """Features of the better less those of the worse answer, a row a pair; features (P, K, F)."""
    rows = [
        features[p, better] - features[p, worse]
        for p, ranks in enumerate(rankings)
        for better, worse in pairs(ranks)
    ]
    return np.array(rows).reshape(-1, features.shape[-1])


def linear_ceiling(
    features: Floats,
    rankings: Sequence[Ranks],
    held_out: Floats,
    held_out_rankings: Sequence[Ranks],
) -> float:
    """Pair accuracy on held-out prompts of the best linear scorer of the true features.

    Fitted by Newton's method on the Bradley-Terry likelihood. No reward model can be expected to do
    better, for noise in the labels is all that is left.
    """
    weights = _bradley_terry(differences(features, rankings))
    gaps = differences(held_out, held_out_rankings) @ weights
    return float(np.mean((gaps > 0) + 0.5 * (gaps == 0)))


def _bradley_terry(rows: Floats, ridge: float = 1e-3) -> Floats:
    """argmax_w sum log sigmoid(<w, x>) - ridge/2 |w|^2; the ridge keeps separable data finite."""
    weights = np.zeros(rows.shape[1])
    for _ in range(50):
        right = 1 / (1 + np.exp(-rows @ weights))
        gradient = rows.T @ (1 - right) - ridge * weights
        curvature = (rows * (right * (1 - right))[:, None]).T @ rows
        step = np.linalg.solve(curvature + ridge * np.eye(len(weights)), gradient)
        weights = weights + step
        if np.abs(step).max() < 1e-10:
            break
    return weights
