"""Jaccard over our shingles against scikit-learn's character n-grams."""

from random import Random

import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.metrics import jaccard_score

from jielong.data.dedup import comparison_form
from jielong.data.minhash import jaccard, shingles
from tests.planted import edited, random_text

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("lang", ["zh", "en"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.05, 0.3])
def test_jaccard(lang: str, share: float) -> None:
    random = Random(0)
    text = random_text(random, lang, 800)
    other = edited(random, text, share)
    forms = [comparison_form(text), comparison_form(other)]
    vectorizer = CountVectorizer(analyzer="char", ngram_range=(5, 5), binary=True, lowercase=False)
    grams = vectorizer.fit_transform(forms).toarray()
    ours = jaccard(shingles(text, 5), shingles(other, 5))
    assert ours == pytest.approx(jaccard_score(grams[0], grams[1]), abs=1e-12)
