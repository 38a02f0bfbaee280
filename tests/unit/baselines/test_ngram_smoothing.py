"""Add-k and Katz against pencil work and an implementation with dictionaries."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from jielong.baselines.ngram import NgramModel
from jielong.baselines.ngram_smoothing import Smoothing, good_turing
from jielong.core.errors import CheckpointError

A, B, C, D = 0, 1, 2, 3
ADD = Smoothing(kind="add-k", k=0.5)
KATZ = Smoothing(kind="katz")
EVERY = [Smoothing(), ADD, KATZ]


def zipf(size: int, vocab: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    p = 1.0 / np.arange(1, vocab + 1)
    return rng.choice(vocab, size=size, p=p / p.sum())


class BruteKatz:
    """Katz's backoff with tuples in dictionaries, straight from his equations; slow and obvious."""

    def __init__(self, tokens: list[int], order: int, vocab: int) -> None:
        self.vocab = vocab
        self.counts = [
            Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))
            for n in range(order + 1)
        ]
        self.factors = [self._factors(counts) for counts in self.counts]

    @staticmethod
    def _factors(counts: Counter) -> dict[int, float]:
        n = Counter(counts.values())
        half = {r: (r - 0.5) / r for r in range(1, 6)}
        if not all(n[r] for r in range(1, 7)) or 6 * n[6] >= n[1]:
            return half
        tail = 6 * n[6] / n[1]
        found = {r: ((r + 1) * n[r + 1] / n[r] / r - tail) / (1 - tail) for r in range(1, 6)}
        return found if all(0 < d < 1 for d in found.values()) else half

    def p(self, word: int, context: tuple[int, ...]) -> float:
        lower = self.p(word, context[1:]) if context else 1 / self.vocab
        n = len(context) + 1
        follow = {g[-1]: c for g, c in self.counts[n].items() if g[:-1] == context}
        if not follow:
            return lower
        kept = {w: c * self.factors[n].get(c, 1.0) for w, c in follow.items()}
        total = sum(follow.values())
        total += sum(kept.values()) > total - 1e-12
        own = {w: k / total for w, k in kept.items()}
        if word in own and len(follow) < self.vocab:
            return own[word]
        if len(follow) == self.vocab:
            return own[word] / sum(own.values())
        room = 1 - sum(self.p(w, context[1:]) if context else 1 / self.vocab for w in follow)
        return (1 - sum(own.values())) / room * lower


def test_katz_by_hand() -> None:
    """a b a b a c, and d that never came; counts too thin to estimate from, so half a count goes.

    One token: a 2.5/6, b 1.5/6, c .5/6; what is left, 1/4, is d's.
    After a (3 times): b 1.5/3, c .5/3, left 1/3. The unigrams have 1 - 1/4 - 1/12 = 2/3 for the
    others: a gets 1/2 of its 5/12, d 1/2 of its 1/4.
    After b (2 times): a 1.5/2, and the 1/4 that is left goes over 7/12.
    """
    model = NgramModel.fit([A, B, A, B, A, C], 2, 4, smoothing=KATZ)
    np.testing.assert_allclose(model.distribution([]), [5 / 12, 1 / 4, 1 / 12, 1 / 4])
    np.testing.assert_allclose(model.distribution([A]), [5 / 24, 1 / 2, 1 / 6, 1 / 8])
    np.testing.assert_allclose(model.distribution([B]), [3 / 4, 3 / 28, 1 / 28, 3 / 28])
    np.testing.assert_allclose(model.distribution([C]), model.distribution([]))


def test_add_k_by_hand() -> None:
    """k = 1/2, four tokens: (c + 1/2) / (C + 2). After c nothing was seen: all are alike."""
    model = NgramModel.fit([A, B, A, B, A, C], 2, 4, smoothing=ADD)
    np.testing.assert_allclose(model.distribution([]), np.array([3.5, 2.5, 1.5, 0.5]) / 8)
    np.testing.assert_allclose(model.distribution([A]), np.array([0.5, 2.5, 1.5, 0.5]) / 5)
    np.testing.assert_allclose(model.distribution([B]), np.array([2.5, 0.5, 0.5, 0.5]) / 4)
    np.testing.assert_allclose(model.distribution([C]), np.full(4, 1 / 4))
    expected = [3.5 / 8, 2.5 / 5, 0.5 / 4, 1 / 4]
    np.testing.assert_allclose(np.exp(model.logp([A, B, D, A])), expected)


def test_nothing_added_is_maximum_likelihood() -> None:
    model = NgramModel.fit([A, B, A, B, A, C], 2, 4, smoothing=Smoothing(kind="add-k", k=0.0))
    np.testing.assert_allclose(model.distribution([A]), [0, 2 / 3, 1 / 3, 0])
    assert model.logp([A, D])[1] == -math.inf


def test_good_turing_by_hand() -> None:
    """n1..n6 = 60, 20, 12, 8, 5, 2: the tail is 6 * 2 / 60 = .2, and r* / r is .667, .9, ..."""
    n = {1: 60, 2: 20, 3: 12, 4: 8, 5: 5, 6: 2}
    counts = np.repeat(list(n), list(n.values()))
    expected = [(r - 0.2) / 0.8 for r in (2 / 3, 0.9, 8 / 9, 0.78125, 0.48)]
    np.testing.assert_allclose(good_turing(counts), expected)


def test_good_turing_falls_back_to_half_a_count() -> None:
    np.testing.assert_allclose(good_turing(np.array([1, 2])), [1 / 2, 3 / 4, 5 / 6, 7 / 8, 9 / 10])


@pytest.mark.parametrize(("order", "vocab"), [(1, 12), (2, 12), (3, 12), (4, 6), (3, 200)])
def test_katz_agrees_with_brute_force(order: int, vocab: int) -> None:
    train, held_out = zipf(900, vocab, seed=1).tolist(), zipf(80, vocab, seed=2).tolist()
    model = NgramModel.fit(train, order, vocab, smoothing=KATZ)
    slow = BruteKatz(train, order, vocab)
    expected = [
        slow.p(w, tuple(held_out[max(0, i - order + 1) : i])) for i, w in enumerate(held_out)
    ]
    np.testing.assert_allclose(np.exp(model.logp(held_out)), expected, rtol=1e-9)


def test_what_always_followed_may_still_be_followed_by_something_else() -> None:
    """b came after a 1000 times and nothing else did; no count is small enough to give anything."""
    model = NgramModel.fit([A, B] * 1000, 2, 3, smoothing=KATZ)
    p = model.distribution([A])
    assert p[B] == pytest.approx(1000 / 1001)
    assert p.min() > 0
    assert p.sum() == pytest.approx(1)


@pytest.mark.parametrize("smoothing", EVERY, ids=lambda smoothing: smoothing.kind)
@pytest.mark.parametrize("size", [1, 2, 4, 2000])
def test_sums_to_one_after_any_context(smoothing: Smoothing, size: int) -> None:
    train = zipf(size, 50, seed=4)
    model = NgramModel.fit(train, 4, 64, smoothing=smoothing)  # ids 50..63 are never seen
    rng = np.random.default_rng(5)
    contexts = [rng.integers(64, size=n) for n in (0, 1, 2, 3, 9)]
    contexts += [train[i : i + 3] for i in range(0, len(train), 97)] + [train[-3:], train[:3]]
    for context in contexts:
        p = model.distribution(context)
        assert p.min() > 0
        assert math.fsum(p) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("smoothing", EVERY, ids=lambda smoothing: smoothing.kind)
@pytest.mark.parametrize("size", [2, 3000])
def test_logp_is_the_distribution_of_the_last_tokens(smoothing: Smoothing, size: int) -> None:
    train, held_out = zipf(size, 30, seed=6), zipf(60, 30, seed=7)
    model = NgramModel.fit(train, 4, 30, smoothing=smoothing)
    expected = [model.distribution(held_out[max(0, i - 3) : i])[w] for i, w in enumerate(held_out)]
    np.testing.assert_allclose(np.exp(model.logp(held_out)), expected, rtol=1e-9)


def test_perplexity_by_hand() -> None:
    """Two tokens of probability 1/2 and 1/8: sqrt(16) = 4."""
    model = NgramModel.fit([A, A, A, A, B], 1, 4, smoothing=Smoothing(kind="add-k", k=1.0))
    assert np.exp(model.logp([A, B])) == pytest.approx([5 / 9, 2 / 9])
    assert model.perplexity([A, B]) == pytest.approx(math.sqrt(81 / 10))


def test_entries_are_grams_of_every_length() -> None:
    assert NgramModel.fit([A, B, A, B, A, C], 2, 4).entries == 3 + 3


@pytest.mark.parametrize("smoothing", EVERY, ids=lambda smoothing: smoothing.kind)
def test_save_and_load_change_nothing(smoothing: Smoothing, tmp_path: Path) -> None:
    train, held_out = zipf(3000, 40, seed=8), zipf(200, 40, seed=9)
    model = NgramModel.fit(train, 3, 40, smoothing=smoothing)
    model.save(tmp_path / "ngram.npz")
    again = NgramModel.load(tmp_path / "ngram.npz")
    assert again.smoothing == smoothing
    np.testing.assert_array_equal(again.logp(held_out), model.logp(held_out))


def test_a_file_without_a_rule_is_kneser_ney(tmp_path: Path) -> None:
    model = NgramModel.fit([A, B, A, B, A, C], 2, 4)
    arrays = {"discounts": model.discounts, "vocab_size": np.array(4), **model.counts()}
    np.savez(tmp_path / "old.npz", **arrays)
    np.testing.assert_array_equal(
        NgramModel.load(tmp_path / "old.npz").distribution([A]), model.distribution([A])
    )


def test_an_unknown_rule_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"k: -1: add 0 or more"):
        Smoothing(kind="add-k", k=-1)
    model = NgramModel.fit([A, B], 1, 4)
    arrays = {"discounts": model.discounts, "vocab_size": np.array(4), **model.counts()}
    np.savez(tmp_path / "odd.npz", smoothing=np.array("guess"), k=np.array(0.1), **arrays)
    with pytest.raises(CheckpointError, match="guess"):
        NgramModel.load(tmp_path / "odd.npz")
