import math
import pickle
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jielong.core.config import parse
from jielong.core.errors import ConfigError, DataError
from jielong.core.files import sha256_file
from jielong.data.documents import Document, Dropped
from jielong.data.filters import damage
from jielong.data.filters.quality import (
    FEATURES,
    LanguageModel,
    QualityConfig,
    QualityModel,
    block,
    is_drawn,
    keep_probability,
    match_alpha,
    train,
)
from tests.unit.data.filters.texts import chinese, english


@pytest.fixture(scope="module")
def positives() -> list[Document]:
    return chinese(100) + english(400)


@pytest.fixture(scope="module")
def model(positives: list[Document]) -> QualityModel:
    return train(positives, (), seed=3)


def constant(score: float) -> QualityModel:
    """A model of one score for every text."""
    return QualityModel(
        {
            "zh": LanguageModel(
                weights=np.zeros(FEATURES, dtype=np.float32),
                bias=math.log(score / (1 - score)),
                documents=(10, 10),
                auc=0.5,
                positive_scores=(score,),
            )
        }
    )


def test_damage_is_told_from_texts_never_seen(model: QualityModel) -> None:
    good = chinese(60, seed=9)
    bad = damage.generate(good, seed=77)
    scores = [[model.score(d.text, "zh") for d in side] for side in (good, bad)]
    above = [(g > b) + (g == b) / 2 for g in scores[0] for b in scores[1]]
    assert sum(above) / len(above) >= 0.95
    assert {name: found.auc >= 0.95 for name, found in model.languages.items()} == {
        "zh": True,
        "en": True,
    }
    assert np.mean(scores[0]) > 0.8


def test_the_order_of_the_documents_changes_nothing(
    positives: list[Document], model: QualityModel
) -> None:
    shuffled = Random(1).sample(positives[:100], 100)
    again = train(shuffled, (), seed=3)
    assert again.languages["zh"].card() == model.languages["zh"].card()
    assert train(shuffled, (), seed=4).languages["zh"].card() != again.languages["zh"].card()


def test_negatives_of_the_user_take_the_place_of_damage() -> None:
    good = chinese(120)
    crawl = [
        replace(
            document, key=f"{number}", text="点击查看更多 上一页 下一页 " * 20, group=f"{number}"
        )
        for number, document in enumerate(good)
    ]
    learned = train(good, crawl, seed=0)
    assert learned.score("点击查看更多", "zh") < 0.5 < learned.score(good[0].text, "zh")


def test_mixed_text_is_judged_by_what_it_has_more_of(model: QualityModel) -> None:
    text = "老木匠把晒干的草药分成小捆 and smiled."
    assert model.score(text, "mixed") == model.score(text, "zh") != model.score(text, "en")
    text = "The carpenter, whom they called 老木匠, returned a new list of the arguments."
    assert model.score(text, "mixed") == model.score(text, "en") != model.score(text, "zh")


def test_a_language_without_a_classifier_is_named() -> None:
    with pytest.raises(DataError, match="no classifier for 'en' text, only for zh"):
        constant(0.5).score("Some text.", "en")


@pytest.mark.parametrize(
    ("good", "message"),
    [
        ([], "no positives"),
        (chinese(9), "zh positives to (train|judge) the classifier"),
        ([replace(d, lang="de") for d in chinese(99)], "'de' text: only zh, en can be judged"),
        ([replace(d, group="one") for d in chinese(99)], "0 zh positives to judge"),
    ],
)
def test_too_little_to_learn_from(good: list[Document], message: str) -> None:
    with pytest.raises(DataError, match=message):
        train(good, (), seed=1)


def test_a_saved_model_is_the_same_and_has_one_hash(model: QualityModel, tmp_path: Path) -> None:
    first, second = model.save(tmp_path / "a"), model.save(tmp_path / "b")
    assert first == second == sha256_file(tmp_path / "a" / "quality.json")
    for name in ("quality.npz", "quality.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    loaded = QualityModel.load(tmp_path / "a")
    assert loaded.save(tmp_path / "c") == first
    for document in chinese(5, seed=2):
        assert loaded.score(document.text, "zh") == model.score(document.text, "zh")


def test_a_broken_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no quality classifier"):
        QualityModel.load(tmp_path)
    constant(0.5).save(tmp_path)
    (tmp_path / "quality.npz").write_bytes(b"PK nothing")
    with pytest.raises(DataError, match="no quality classifier"):
        QualityModel.load(tmp_path)
    constant(0.5).save(tmp_path)
    other = np.ones(FEATURES, dtype=np.float32)
    np.savez(tmp_path / "quality.npz", zh=other)
    with pytest.raises(DataError, match="not those of its card"):
        QualityModel.load(tmp_path)


@pytest.mark.parametrize(
    ("score", "probability"),
    [(1.0, 1.0), (0.75, 0.134), (0.5, 0.026), (0.0, 0.002)],  # at alpha = 9
)
def test_the_probabilities_of_the_paper(score: float, probability: float) -> None:
    assert keep_probability(score, 9) == pytest.approx(probability, abs=5e-4)
    drawn = np.random.default_rng(1).pareto(9, size=200_000) > 1 - score  # as the paper has it
    error = math.sqrt(probability * (1 - probability) / drawn.size)
    assert abs(drawn.mean() - keep_probability(score, 9)) <= 3 * error


@pytest.mark.parametrize("alpha", [1.0, 9.0])
def test_each_bucket_of_scores_is_kept_as_the_formula_says(alpha: float) -> None:
    rng = Random(5)
    scores = [rng.random() for _ in range(20_000)]
    buckets: dict[int, list[tuple[bool, float]]] = {bucket: [] for bucket in range(10)}
    for number, score in enumerate(scores):
        drawn = is_drawn(f"{number:016x}", score, alpha, seed=0)
        buckets[int(10 * score)].append((drawn, (1 + (1 - score)) ** -alpha))
    for found in buckets.values():
        kept, expected = np.array(found, dtype=float).T
        error = math.sqrt(float((expected * (1 - expected)).sum()))
        assert abs(kept.sum() - expected.sum()) <= 3 * error


def test_the_step_keeps_by_id_and_tells_the_score() -> None:
    step = pickle.loads(pickle.dumps(block(constant(0.75), 9.0, 1)))  # noqa: S301 - our own
    outcomes = [step(document) for document in chinese(400)]
    dropped = [found for found in outcomes if isinstance(found, Dropped)]
    assert abs(400 - len(dropped) - 400 * 0.134) <= 3 * math.sqrt(400 * 0.134 * 0.866)
    assert {found.rule for found in dropped} == {"quality.score"}
    assert {found.detail for found in dropped} == {"score 0.7500: kept with probability 0.1342"}
    assert [step(document) for document in chinese(400)] == outcomes
    other_seed = block(constant(0.75), 9.0, 2)
    assert [other_seed(document) for document in chinese(400)] != outcomes


def test_a_matched_alpha_gives_the_mean_that_is_wanted() -> None:
    rng = Random(2)
    scores = [rng.random() for _ in range(5000)]
    wanted = [0.8, 0.9, 0.7]
    alpha = match_alpha(scores, wanted)
    weights = [(2 - score) ** -alpha for score in scores]
    kept = sum(w * s for w, s in zip(weights, scores, strict=True)) / sum(weights)
    assert kept == pytest.approx(0.8, abs=1e-3)
    assert match_alpha([0.9, 0.95], [0.5]) == 0.0  # keeps all
    assert match_alpha([0.1, 0.2], [0.9]) == 1000.0  # out of reach
    with pytest.raises(DataError, match="needs candidates"):
        match_alpha([], wanted)


@given(st.text(max_size=60))
def test_any_text_has_a_score(model: QualityModel, text: str) -> None:
    for lang in ("zh", "en", "mixed"):
        score = model.score(text, lang)
        assert 0 <= score <= 1
        assert score == round(score, 4)


def test_alpha_is_a_number_or_a_word() -> None:
    assert parse(QualityConfig, {"alpha": "match"}).alpha == "match"
    assert parse(QualityConfig, {"alpha": 3}).alpha == 3.0
    for alpha in (-1, "mtach", 1e9):
        with pytest.raises(ConfigError, match="alpha: "):
            parse(QualityConfig, {"alpha": alpha})
