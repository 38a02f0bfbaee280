import math

import numpy as np
import pytest

from jielong.core.errors import DataError
from jielong.evaluation.reward_report import RankedScores, reward_report

NAN = float("nan")


def two_prompts(**changes) -> RankedScores:
    """Prompt 1: a total order of three. Prompt 2: one tie, so two strict pairs."""
    values = {
        "scores": np.array([[3.0, 1.0, 2.0], [0.0, 0.0, 1.0]]),
        "ranks": np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 2.0]]),
        "lengths": np.array([[9.0, 5.0, 7.0], [4.0, 6.0, 8.0]]),
    }
    return RankedScores(**{**values, **changes})


def planted(prompts: int = 400, k: int = 4, noise: float = 0.0, seed: int = 0) -> RankedScores:
    rng = np.random.default_rng(seed)
    gold = rng.normal(size=(prompts, k))
    labels = gold + noise * rng.gumbel(size=gold.shape)
    ranks = (-labels).argsort(axis=1).argsort(axis=1).astype(float)
    lengths = rng.integers(5, 40, size=gold.shape).astype(float)
    return RankedScores(scores=gold, ranks=ranks, lengths=lengths, gold=gold)


def test_R6_numbers_by_hand() -> None:
    """Prompt 1: pairs (1,2) and (1,3) right, (2,3) wrong: 2/3. Prompt 2: a tie and a miss: 1/4."""
    report = reward_report(two_prompts(), draws=200)
    assert (report["n"], report["pairs"]) == (2, 5)
    assert report["pair_accuracy"]["estimate"] == pytest.approx((2 / 3 + 1 / 4) / 2)
    assert report["best_vs_worst"]["estimate"] == pytest.approx((1 + 1 / 4) / 2)
    losses = [[2.0, 1.0, -1.0], [0.0, -1.0]]
    expected = np.mean([np.mean([math.log1p(math.exp(-x)) for x in row]) for row in losses])
    assert report["log_loss"]["estimate"] == pytest.approx(expected)
    assert report["length"]["longer_wins"]["estimate"] == pytest.approx((2 / 3 + 0) / 2)
    # within prompts: ranks 3 1 2 against 3 2 1: 1/2; ranks 1.5 1.5 3 against 3 1.5 1.5: -1/2
    assert report["spearman"]["estimate"] == pytest.approx(0.0)
    assert report["by_rank_gap"] == [
        {"gap": 1, "pairs": 4, "accuracy": pytest.approx((1 + 0 + 0.5 + 0) / 4)},
        {"gap": 2, "pairs": 1, "accuracy": 1.0},
    ]
    assert sum(row["pairs"] for row in report["by_score_gap"]) == 5


def test_R6_calibration_by_hand() -> None:
    """One pair a prompt with p = .75 (gap log 3), right three times of four: no error at all."""
    gap = math.log(3)
    scores = np.array([[gap, 0.0]] * 4)
    ranks = np.array([[1.0, 2.0]] * 3 + [[2.0, 1.0]])
    calibrated = reward_report(
        RankedScores(scores=scores, ranks=ranks, lengths=np.ones((4, 2))), draws=100
    )
    assert calibrated["calibration_error"]["estimate"] == pytest.approx(0.0, abs=1e-12)
    assert [row["predicted"] for row in calibrated["reliability"]] == pytest.approx([0.25, 0.75])
    overconfident = reward_report(
        RankedScores(scores=50 * scores, ranks=ranks, lengths=np.ones((4, 2))), draws=100
    )
    assert overconfident["calibration_error"]["estimate"] == pytest.approx(0.25)


def test_R6_unranked_answers_and_unordered_prompts_are_left_out() -> None:
    ranks = np.array([[1.0, 2.0, NAN], [1.0, 1.0, 1.0]])
    report = reward_report(two_prompts(ranks=ranks), draws=100)
    assert (report["n"], report["pairs"]) == (1, 1)
    assert report["pair_accuracy"]["estimate"] == 1.0


def test_R6_noise_free_labels_are_learned_and_swapping_mirrors() -> None:
    data = planted()
    report = reward_report(data, draws=200)
    assert report["pair_accuracy"]["estimate"] > 0.95
    assert report["gold_pair_accuracy"]["estimate"] == 1.0
    assert report["spearman"]["estimate"] == pytest.approx(1.0)
    noisy = planted(noise=1.0)
    swapped = RankedScores(scores=noisy.scores, ranks=-noisy.ranks, lengths=noisy.lengths)
    a, b = (reward_report(d, draws=10)["pair_accuracy"]["estimate"] for d in (noisy, swapped))
    assert 0.6 < a < 0.9
    assert a == pytest.approx(1 - b)


def test_R6_flipped_labels_bound_the_accuracy() -> None:
    """Every fifth label flipped: a perfect model reaches .8 and no more."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(4000, 2))
    flip = rng.random(4000) < 0.2
    ranks = np.where(flip[:, None], scores, -scores).argsort(axis=1).argsort(axis=1).astype(float)
    data = RankedScores(scores=scores, ranks=ranks, lengths=np.ones_like(scores))
    report = reward_report(data, draws=500)
    accuracy = report["pair_accuracy"]
    assert accuracy["estimate"] == pytest.approx(0.8, abs=0.02)
    assert accuracy["low"] < 0.8 < accuracy["high"]


def test_R6_length_baseline_finds_either_direction() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.permuted(np.tile(np.arange(1.0, 5.0), (300, 1)), axis=1)
    scores = rng.normal(size=lengths.shape)
    shorter = RankedScores(scores=scores, ranks=lengths, lengths=lengths)
    report = reward_report(shorter, draws=50)
    assert report["length"]["longer_wins"]["estimate"] == 0.0
    assert report["length"]["logistic_accuracy"]["estimate"] == 1.0
    assert report["length"]["slope_per_token"] < 0


def test_R6_correlation_with_each_feature_stands_beside_the_judges_own() -> None:
    rng = np.random.default_rng(0)
    seen, ignored = rng.normal(size=(2, 200, 6))
    data = RankedScores(
        scores=seen,
        ranks=-(seen + ignored),
        lengths=np.ones((200, 6)),
        gold=seen + ignored,
        features={"seen": seen, "ignored": ignored, "constant": np.zeros((200, 6))},
    )
    features = reward_report(data, draws=100, ceiling=0.71)["features"]
    assert features["seen"]["model"]["estimate"] == pytest.approx(1.0)
    assert features["ignored"]["model"]["estimate"] == pytest.approx(0.0, abs=0.1)
    assert features["ignored"]["gold"]["estimate"] > 0.5
    assert features["constant"]["model"] is None


def test_bad_input_is_named() -> None:
    with pytest.raises(DataError, match="lengths"):
        two_prompts(lengths=np.ones((2, 4)))
    with pytest.raises(DataError, match="strict order"):
        two_prompts(ranks=np.ones((2, 3)))
    with pytest.raises(DataError, match="finite"):
        two_prompts(scores=np.full((2, 3), NAN))


def test_R6_prompts_about_one_word_are_drawn_together() -> None:
    """Twenty prompts, one of them all ties, four times over: groups give the twenty's intervals."""
    rng = np.random.default_rng(0)
    scores, ranks = rng.normal(size=(2, 20, 4))
    ranks[3] = 1.0
    once = RankedScores(scores=scores, ranks=ranks, lengths=rng.normal(size=(20, 4)), gold=-ranks)
    four = {
        name: np.repeat(getattr(once, name), 4, axis=0)
        for name in ("scores", "ranks", "lengths", "gold")
    }
    grouped = RankedScores(**four, groups=np.repeat(np.arange(20), 4))
    first, second = reward_report(once), reward_report(grouped)
    plain = reward_report(RankedScores(**four))
    for name in ("pair_accuracy", "log_loss", "calibration_error", "spearman"):
        assert second[name]["low"] == pytest.approx(first[name]["low"])
        assert plain[name]["low"] > first[name]["low"]


def test_groups_of_another_length_are_refused() -> None:
    values = np.arange(8.0).reshape(2, 4)
    with pytest.raises(DataError, match="groups"):
        RankedScores(scores=values, ranks=values, lengths=values, groups=np.arange(3))
