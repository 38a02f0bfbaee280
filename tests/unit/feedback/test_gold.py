"""The gold labeller against hand-worked numbers and against its own definition by simulation."""

import math
from itertools import combinations

import numpy as np
import pytest

from jielong.core.errors import DataError
from jielong.feedback.agreement import pairwise_agreement
from jielong.feedback.features import Answer
from jielong.feedback.gold import WEIGHTS, Annotators, GoldScorer, Scale, calibrate, ranks

WISH = {"contains": "茶", "language": "zh"}


def fluency(text: str) -> float:
    """A stand-in for an n-gram model: rare characters cost more."""
    return -1.0 - 0.5 * (text.count("龘") + text.count("zx"))


def samples() -> list[list[Answer]]:
    texts = [
        "我爱喝茶。",
        "茶很好喝。",
        "我龘爱",
        "今天下雨了。",
        "茶茶茶茶茶",
        "他去龘学校。",
        "好。",
        "I zx",
    ]
    return [
        [Answer(WISH, text, text.endswith("。")) for text in texts[start : start + 4]]
        for start in (0, 2, 4)
    ]


def test_weights_are_those_of_the_design() -> None:
    assert list(WEIGHTS.values()) == [0.35, 0.20, 0.15, 0.15, 0.10, 0.05]
    assert sum(WEIGHTS.values()) == pytest.approx(1)


def test_parts_by_hand() -> None:
    scale = Scale(length_peak={"zh": 10.0}, fluency_mean={"zh": -1.5}, fluency_std={"zh": 0.5})
    parts = GoldScorer(fluency, scale).parts(Answer(WISH, "我我我爱茶。", finished=False))
    # log-probability -1 is one standard deviation above the mean; 5 units against a peak of 10;
    # pairs: 我我 我我 我爱 爱茶 茶。
    assert parts == pytest.approx(
        {
            "constraints": 1,
            "fluency": 1 / (1 + math.exp(-1)),
            "no_repetition": 4 / 5,
            "length": math.exp(-0.5 * (5 / 4) ** 2),
            "ending": 0.5,
            "language": 1,
        }
    )


def test_an_empty_answer_earns_only_its_stop() -> None:
    scale = Scale(length_peak={"zh": 10.0}, fluency_mean={"zh": -1.5}, fluency_std={"zh": 0.5})
    parts = GoldScorer(fluency, scale).parts(Answer(WISH, "", finished=True))
    assert parts["ending"] == 0.5
    assert sum(parts.values()) == pytest.approx(0.5 + math.exp(-0.5 * 2.5**2))


def test_g_has_deviation_one_within_prompts_and_mean_zero() -> None:
    scorer = GoldScorer.fit(fluency, samples())
    scores = [scorer.scores(group) for group in samples()]
    assert np.mean([np.mean((s - s.mean()) ** 2) for s in scores]) == pytest.approx(1)
    assert np.concatenate(scores).mean() == pytest.approx(0, abs=1e-9)


def test_g_is_the_weighted_sum_of_standardised_features() -> None:
    scorer = GoldScorer.fit(fluency, samples())
    flat = [answer for group in samples() for answer in group]
    raw = np.array([list(scorer.parts(answer).values()) for answer in flat])
    std = np.maximum(raw.std(axis=0), 0.1)
    expected = ((raw - raw.mean(axis=0)) / std) @ np.array(list(WEIGHTS.values()))
    assert scorer.scores(flat) * scorer.scale.spread == pytest.approx(expected)


def test_the_length_peak_lies_above_what_was_sampled() -> None:
    groups = [
        [Answer({}, "我爱喝好茶。", True), Answer({}, "我爱喝的好茶叶。", True)]
    ]  # 5 and 7 units
    assert GoldScorer.fit(fluency, groups).scale.length_peak["zh"] == pytest.approx(1.4 * 6)


def test_each_fault_costs() -> None:
    scorer = GoldScorer.fit(fluency, samples())
    good = "我今天在家里喝茶。"
    worse = {
        "no word": Answer(WISH, "我今天在家里喝水。", True),
        "rare": Answer(WISH, "我今天在龘里喝茶。", True),
        "loop": Answer(WISH, "我我我我我我喝茶。", True),
        "short": Answer(WISH, "茶。", True),
        "cut": Answer(WISH, "我今天在家里喝茶", False),
        "other language": Answer(WISH, "I drink 茶 here at home today now.", True),
    }
    best = scorer.scores([Answer(WISH, good, True)])[0]
    for name, answer in worse.items():
        assert scorer.scores([answer])[0] < best, name


@pytest.mark.parametrize("groups", [[], [[Answer({}, "好。", True)]]])
def test_fitting_needs_two_samples_a_prompt(groups) -> None:
    with pytest.raises(DataError, match="two or more"):
        GoldScorer.fit(fluency, groups)


def test_samples_that_are_all_empty_are_refused() -> None:
    with pytest.raises(DataError, match="every zh sample is empty"):
        GoldScorer.fit(fluency, [[Answer(WISH, "", True), Answer(WISH, "。", True)]])


def test_a_language_it_was_not_fitted_on_is_refused() -> None:
    scorer = GoldScorer.fit(fluency, samples())
    with pytest.raises(DataError, match="'en': the gold scorer was fitted on zh only"):
        scorer.scores([Answer({"language": "en"}, "Good tea.", True)])


@pytest.mark.parametrize(
    ("utility", "tie", "expected"),
    [
        ([0.3, 2.0, 1.0], 0.0, [3, 1, 2]),
        ([1.0, 1.0, 0.0], 0.0, [1, 1, 2]),
        ([1.0, 0.95, 0.0], 0.1, [1, 1, 2]),
        ([1.0, 0.9, 0.81], 0.15, [1, 1, 1]),
        ([0.0, 1.0, 1.05, 2.0], 0.1, [3, 2, 2, 1]),
        ([5.0], 0.1, [1]),
    ],
)
def test_ranks_and_ties(utility, tie, expected) -> None:
    assert ranks(np.array(utility), tie) == expected


def test_pair_marginals_are_bradley_terry() -> None:
    """P(i over j) = sigmoid(<w, z_i - z_j> / tau) in a ranking of four; 40,000 draws, 4 s.e."""
    people = Annotators(np.array([[0.6, 0.8]]), np.array([0.5]), tie=0.0)
    z = np.array([[0.0, 0.0], [0.3, 0.1], [-0.2, 0.4], [0.5, -0.6]])
    draws = np.array([people.rank(z, 0, 7, i) for i in range(40_000)])
    for i, j in combinations(range(4), 2):
        expected = 1 / (1 + math.exp(-((z[i] - z[j]) @ [0.6, 0.8]) / 0.5))
        error = 4 * math.sqrt(expected * (1 - expected) / len(draws))
        assert np.mean(draws[:, i] < draws[:, j]) == pytest.approx(expected, abs=error)


def test_rankings_repeat_by_seed_and_differ_by_name() -> None:
    people = Annotators.recruit(3, seed=1)
    z = np.random.default_rng(0).standard_normal((6, 6))
    assert people.rank(z, 0, 5, "a") == people.rank(z, 0, 5, "a")
    assert len({tuple(people.rank(z, a, 5, name)) for a in range(3) for name in "abc"}) > 4


def test_annotators_have_taste_around_the_gold_weights() -> None:
    gold = np.array(list(WEIGHTS.values()))
    gold /= np.linalg.norm(gold)
    same = Annotators.recruit(4, taste=0.0)
    assert same.tastes == pytest.approx(np.tile(gold, (4, 1)))
    crowd = Annotators.recruit(4000, seed=3)
    assert np.linalg.norm(crowd.tastes, axis=1) == pytest.approx(np.ones(4000))
    # A unit vector plus noise of size 0.55, normalised: cosine about 1 / sqrt(1 + 0.55^2) = 0.876.
    assert (crowd.tastes @ gold).mean() == pytest.approx(0.876, abs=0.02)
    assert np.log(crowd.temperatures / 0.4).std() == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("tie", [0.0, 0.1])
def test_calibrated_annotators_agree_as_often_as_asked(tie: float) -> None:
    """Counted on rankings that are drawn, not on the formula that calibration uses."""
    z = np.random.default_rng(0).standard_normal((1500, 4, 6))
    people = Annotators.recruit(5, seed=2)
    people = calibrate(Annotators(people.tastes, people.temperatures, tie), z)
    drawn = [[people.rank(z[p], a, 0, p) for a in range(5)] for p in range(len(z))]
    assert pairwise_agreement(drawn) == pytest.approx(0.73, abs=0.015)


def test_what_cannot_be_reached_is_said() -> None:
    z = np.zeros((10, 4, 6))
    with pytest.raises(DataError, match=r"agree on 0\.500 of pairs at best, not 0\.73"):
        calibrate(Annotators.recruit(), z)
