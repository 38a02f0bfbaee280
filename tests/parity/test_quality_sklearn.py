"""The classifier's scores and figures are those of scikit-learn's own parts."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.metrics import roc_auc_score

from jielong.data.filters import damage
from jielong.data.filters.quality import QualityModel, train
from tests.unit.data.filters.texts import chinese, english

pytestmark = pytest.mark.parity

VECTORIZERS = {
    "zh": HashingVectorizer(
        n_features=2**18, alternate_sign=False, analyzer="char", ngram_range=(1, 2)
    ),
    "en": HashingVectorizer(
        n_features=2**18, alternate_sign=False, token_pattern=r"\w+|[^\w\s]", ngram_range=(1, 2)
    ),
}


@pytest.fixture(scope="module")
def model() -> QualityModel:
    return train(chinese(100) + english(400), (), seed=3)


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_a_score_is_the_logistic_of_the_hashed_and_scaled_counts(
    model: QualityModel, lang: str
) -> None:
    good = chinese(20, seed=5) if lang == "zh" else english(20)
    texts = [document.text for document in good + damage.generate(good, seed=6)] + ["", " "]
    found = model.languages[lang]
    margins = VECTORIZERS[lang].transform(texts) @ found.weights.astype(float) + found.bias
    expected = 1 / (1 + np.exp(-margins))
    scores = [model.score(text, lang) for text in texts]
    np.testing.assert_allclose(scores, expected, atol=5.1e-5)  # rounded to the fourth digit


def test_the_area_under_the_curve_is_scikit_learns() -> None:
    from jielong.data.filters.quality import _auc

    rng = np.random.default_rng(0)
    scores = rng.integers(0, 30, size=500) / 30  # with many ties
    is_good = rng.random(500) < scores
    assert _auc(scores, is_good) == pytest.approx(roc_auc_score(is_good, scores), abs=1e-6)
