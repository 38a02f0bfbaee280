"""Our few lines of statistics against scipy and scikit-learn."""

import numpy as np
import pytest
import scipy.stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss

from jielong.evaluation import statistics as st
from jielong.evaluation.reward_report import RankedScores, reward_report

pytestmark = pytest.mark.parity


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (3, 7), (400, 400), (231, 400)])
def test_wilson(hits: int, n: int) -> None:
    theirs = scipy.stats.binomtest(hits, n).proportion_ci(method="wilson")
    assert st.wilson(hits, n).ends == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_bootstrap_percentile() -> None:
    values = np.random.default_rng(0).exponential(size=300)
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=10_000, method="percentile", rng=1
    ).confidence_interval
    assert st.bootstrap_mean(values).ends == pytest.approx((theirs.low, theirs.high), abs=0.006)


def test_spearman_with_ties() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(8, size=(2, 60)).astype(float)
    assert st.spearman(x, y) == pytest.approx(scipy.stats.spearmanr(x, y).statistic)


def test_wins_are_the_mann_whitney_statistic() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(9, size=(1, 12)).astype(float), rng.integers(9, size=(1, 15)).astype(float)
    theirs = scipy.stats.mannwhitneyu(a[0], b[0]).statistic / (12 * 15)
    assert st.wins(a, b)[0] == pytest.approx(theirs)


def test_R6_reward_report() -> None:
    """Without ties every prompt has as many pairs, so the flat pairwise metrics are the same."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(80, 5))
    lengths = rng.integers(5, 40, size=scores.shape).astype(float)
    labels = scores + 0.05 * lengths + rng.gumbel(size=scores.shape)
    ranks = (-labels).argsort(axis=1).argsort(axis=1).astype(float)
    report = reward_report(RankedScores(scores=scores, ranks=ranks, lengths=lengths), draws=10)

    i, j = np.triu_indices(5, 1)
    better = (ranks[:, i] < ranks[:, j]).ravel()
    gap = (scores[:, i] - scores[:, j]).ravel()
    length_gap = (lengths[:, i] - lengths[:, j]).ravel()
    assert report["pair_accuracy"]["estimate"] == pytest.approx(accuracy_score(better, gap > 0))
    expected = log_loss(better, 1 / (1 + np.exp(-gap)))
    assert report["log_loss"]["estimate"] == pytest.approx(expected)
    fit = LogisticRegression(C=1e9, fit_intercept=False, tol=1e-9)
    fit.fit(length_gap[:, None] / 10, better)
    slope = fit.coef_[0, 0] / 10
    assert report["length"]["slope_per_token"] == pytest.approx(slope, rel=1e-3)
    expected = log_loss(better, fit.predict_proba(length_gap[:, None] / 10))
    assert report["length"]["logistic_log_loss"]["estimate"] == pytest.approx(expected, rel=1e-4)
