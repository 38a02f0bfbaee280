"""Kneser-Ney against nltk's, where the two definitions are the same.

nltk has one discount and does not discount unigrams, so ours is given those discounts; its context
must have been seen, for it returns the lower order of an unseen one undiscounted only sometimes.
"""

import numpy as np
import pytest
from nltk.lm import KneserNeyInterpolated
from nltk.util import ngrams

from jielong.baselines.ngram import NgramModel


@pytest.mark.parity
@pytest.mark.parametrize(("order", "discount"), [(2, 0.1), (3, 0.1), (3, 0.75), (4, 0.5)])
def test_interpolated_kneser_ney(order: int, discount: float) -> None:
    rng = np.random.default_rng(order)
    stream = rng.choice(9, size=400, p=np.arange(9, 0, -1) / 45)
    stream[-order:] = stream[:order]  # the first grams occur again, with a left neighbour
    words = [str(token) for token in stream]
    theirs = KneserNeyInterpolated(order, discount=discount)
    grams = [gram for n in range(1, order + 1) for gram in ngrams(words, n)]
    theirs.fit([grams], vocabulary_text=words)

    discounts = np.full((order, 3), discount)
    discounts[0] = 0.0
    ours = NgramModel.fit(stream, order, 9, discounts=discounts)

    logp = ours.logp(stream)
    for i in range(order - 1, len(stream)):
        expected = theirs.score(words[i], words[i - order + 1 : i])
        assert np.exp(logp[i]) == pytest.approx(expected, rel=1e-9)
