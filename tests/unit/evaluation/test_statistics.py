import itertools
import math

import numpy as np
import pytest

from jielong.core.errors import DataError
from jielong.evaluation import statistics as st


def test_wilson_by_hand() -> None:
    """8 of 10, z = 1.959964: centre (.8 + .19207)/(1.38415), half width by the formula."""
    interval = st.wilson(8, 10)
    assert interval.estimate == 0.8
    assert interval.ends == pytest.approx((0.4901625, 0.9433178), abs=1e-6)
    assert st.wilson(0, 10).low == pytest.approx(0.0, abs=1e-12)
    assert st.wilson(10, 10).high == pytest.approx(1.0)
    with pytest.raises(DataError):
        st.wilson(0, 0)


def test_bootstrap_of_a_mean_is_as_wide_as_its_standard_error() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, size=900)
    interval = st.bootstrap_mean(values, seed=1)
    error = values.std() / math.sqrt(900)
    assert interval.estimate == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error)
    assert interval.high == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error)
    assert st.bootstrap_mean(values, seed=1) == interval
    assert st.bootstrap_mean(values, seed=2) != interval


def test_clusters_are_drawn_whole() -> None:
    """Copying every answer of a prompt adds no information: the interval must not shrink."""
    values = np.random.default_rng(0).normal(size=100)
    once = np.stack([values, np.ones(100)], axis=1)
    eight_times = 8 * once
    a, b = (st.bootstrap(sums, st.ratio, seed=3) for sums in (once, eight_times))
    assert a.ends == pytest.approx(b.ends)


def test_prompts_of_one_group_are_no_new_evidence() -> None:
    """Each prompt four times over, in groups of four: the interval of the prompts alone."""
    values = np.random.default_rng(0).normal(size=50)
    alone = st.bootstrap_mean(values)
    repeated = np.repeat(values, 4)
    names = [f"{i:02}" for i in range(50) for _ in range(4)]
    together = st.bootstrap_mean(repeated, st.number_groups(names))
    assert together.ends == pytest.approx(alone.ends)
    assert st.bootstrap_mean(repeated).high - st.bootstrap_mean(repeated).low < 0.6 * (
        together.high - together.low
    )


def test_groups_reach_every_comparison() -> None:
    """The same prompts four times over: as wide as once, not half as wide."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.3, 1, size=(40, 2)), rng.normal(size=(40, 2))
    lengths = rng.normal(size=(2, 40, 2))
    groups = np.repeat(np.arange(40), 4)
    four = [np.repeat(values, 4, axis=0) for values in (a, b, *lengths)]
    once = st.length_controlled_win_rate((a, b), (lengths[0], lengths[1]))
    grouped = st.length_controlled_win_rate((four[0], four[1]), (four[2], four[3]), groups)
    assert grouped.ends == pytest.approx(once.ends, abs=1e-6)
    assert st.win_rate(four[0], four[1], groups).ends == pytest.approx(st.win_rate(a, b).ends)
    alone, together = (st.best_of_n(*x, [1, 2]) for x in ((a, b), (four[0], four[1])))
    kept = st.best_of_n(four[0], four[1], [1, 2], groups)
    assert kept[1].gold.ends == pytest.approx(alone[1].gold.ends)
    assert together[1].gold.low > kept[1].gold.low + 0.05


def test_E1_win_rate_by_hand() -> None:
    """Prompt 1: 2 > 1, 2 > 0, 1 = 1, 1 > 0: 3.5 of 4. Prompt 2: 0 < 3 and 0 = 0, twice: 1 of 4."""
    a = np.array([[2.0, 1.0], [0.0, 0.0]])
    b = np.array([[1.0, 0.0], [3.0, 0.0]])
    np.testing.assert_allclose(st.wins(a, b), [3.5 / 4, 1 / 4])
    assert st.win_rate(a, b).estimate == pytest.approx((3.5 / 4 + 1 / 4) / 2)


def test_E1_swapping_gives_one_minus_and_self_gives_a_half() -> None:
    rng = np.random.default_rng(0)
    a, b = (
        rng.integers(5, size=(400, 4)).astype(float),
        rng.integers(6, size=(400, 3)).astype(float),
    )
    forth, back = st.win_rate(a, b), st.win_rate(b, a)
    assert forth.estimate == pytest.approx(1 - back.estimate, abs=1e-12)
    assert forth.ends == pytest.approx((1 - back.high, 1 - back.low), abs=1e-3)
    assert st.win_rate(a, a).estimate == 0.5


def test_E1_a_longer_wins_judge_is_even_at_equal_length() -> None:
    """The judge sees nothing but length and a is longer: it wins more, but not at one length."""
    rng = np.random.default_rng(0)
    length_a = rng.integers(10, 30, size=(400, 4)).astype(float)
    length_b = rng.integers(8, 26, size=(400, 4)).astype(float)
    noise = rng.gumbel(size=(2, 400, 4))
    scores = (length_a / 5 + noise[0], length_b / 5 + noise[1])
    controlled = st.length_controlled_win_rate(scores, (length_a, length_b))
    assert st.win_rate(*scores).low > 0.55
    assert controlled.low < 0.5 < controlled.high


def test_E1_length_control_keeps_a_real_gain() -> None:
    rng = np.random.default_rng(1)
    lengths = rng.integers(10, 30, size=(2, 300, 4)).astype(float)
    noise = rng.gumbel(size=(2, 300, 4))
    scores = (1.0 + lengths[0] / 5 + noise[0], lengths[1] / 5 + noise[1])
    controlled = st.length_controlled_win_rate(scores, (lengths[0], lengths[1]))
    assert controlled.estimate == pytest.approx(1 / (1 + math.exp(-1)), abs=0.03)


def test_E2_best_of_n_equals_the_enumeration_of_subsets() -> None:
    rng = np.random.default_rng(0)
    proxy, gold = rng.normal(size=(5, 6)), rng.normal(size=(5, 6))
    for result in st.best_of_n(proxy, gold, [1, 2, 3, 6], draws=100):
        subsets = list(itertools.combinations(range(6), result.n))
        chosen = [[max(s, key=lambda i: proxy[p, i]) for s in subsets] for p in range(5)]
        expected = np.mean([[gold[p, i] for i in row] for p, row in enumerate(chosen)])
        assert result.gold.estimate == pytest.approx(expected)
        assert result.kl_nats == pytest.approx(math.log(result.n) - (result.n - 1) / result.n)


def test_E2_best_of_one_is_the_mean_and_the_proxy_never_falls() -> None:
    rng = np.random.default_rng(0)
    proxy, gold = rng.integers(4, size=(50, 16)).astype(float), rng.normal(size=(50, 16))
    results = st.best_of_n(proxy, gold, range(1, 17), draws=100)
    assert results[0].gold.estimate == pytest.approx(gold.mean())
    assert results[0].kl_nats == 0
    assert np.all(np.diff([r.proxy.estimate for r in results]) > -1e-12)
    assert results[-1].proxy.estimate == pytest.approx(proxy.max(axis=1).mean())


def test_E2_equal_proxies_are_chosen_from_at_random() -> None:
    """All proxies equal: the choice says nothing, whatever the order the samples came in."""
    gold = np.array([[1.0, 2.0, 3.0, 10.0]])
    for result in st.best_of_n(np.zeros((1, 4)), gold, [1, 2, 4], draws=10):
        assert result.gold.estimate == pytest.approx(4.0)


def test_E2_a_size_beyond_the_samples_is_refused() -> None:
    with pytest.raises(DataError, match=r"5 of 4 samples"):
        st.best_of_n(np.zeros((2, 4)), np.zeros((2, 4)), [5])


def test_spearman_by_hand() -> None:
    """Ranks 1 2.5 2.5 4 against 1 2 3 4: covariance 4.5, variances 4.5 and 5."""
    np.testing.assert_allclose(st.average_ranks(np.array([1.0, 7, 7, 9])), [1, 2.5, 2.5, 4])
    rho = st.spearman(np.array([1.0, 7, 7, 9]), np.array([1.0, 2, 3, 4]))
    assert rho == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    assert math.isnan(st.spearman(np.zeros(3), np.arange(3.0)))


def test_shapes_must_agree() -> None:
    with pytest.raises(DataError, match="win rate"):
        st.win_rate(np.zeros((3, 2)), np.zeros((2, 2)))
    with pytest.raises(DataError, match="no prompts"):
        st.bootstrap_mean(np.zeros(0))
