"""Smoothed n-grams against nltk's, where the two definitions are the same.

Of Kneser-Ney, nltk has one discount and does not discount unigrams, so ours is given those
discounts; its context must have been seen, for it returns the lower order of an unseen one
undiscounted only sometimes.
"""

import numpy as np
import pytest
from nltk.lm import MLE, KneserNeyInterpolated, Lidstone
from nltk.util import ngrams

from jielong.baselines.ngram import NgramModel
from jielong.baselines.ngram_smoothing import Smoothing


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


@pytest.mark.parity
@pytest.mark.parametrize(("order", "k"), [(1, 0.5), (2, 1.0), (3, 0.01), (3, 0.0)])
def test_add_k_and_maximum_likelihood(order: int, k: float) -> None:
    rng = np.random.default_rng(order)
    stream = rng.choice(9, size=300, p=np.arange(9, 0, -1) / 45)
    held_out = rng.choice(9, size=100)
    words = [str(token) for token in stream]
    theirs = Lidstone(k, order) if k else MLE(order)
    # nltk's vocabulary has one entry more, for unknown words: 8 of ours are known, as is that one.
    known = sorted(set(words))[:8]
    theirs.fit([list(ngrams(words, n)) for n in range(1, order + 1)], vocabulary_text=known)
    renamed = [word if word in known else "<UNK>" for word in words]
    theirs.counts = type(theirs.counts)([list(ngrams(renamed, n)) for n in range(1, order + 1)])
    ours = NgramModel.fit(stream, order, 9, smoothing=Smoothing(kind="add-k", k=k))

    p = np.exp(ours.logp(held_out))
    names = [str(token) if str(token) in known else "<UNK>" for token in held_out]
    seen = {tuple(gram) for gram in ngrams(renamed, order - 1)} if order > 1 else {()}
    grams = []
    for i in range(order - 1, len(names)):
        context = tuple(names[i - order + 1 : i])
        if context in seen:  # after another maximum likelihood says nothing; we say "all alike"
            assert p[i] == pytest.approx(theirs.score(names[i], context), rel=1e-9)
            grams.append((*context, names[i]))
    assert len(grams) > 50
    if k and order == 1:
        assert ours.perplexity(held_out) == pytest.approx(theirs.perplexity(grams), rel=1e-9)
