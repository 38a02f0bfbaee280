"""The n-gram baseline against pencil work and a dictionary implementation of the same formulas."""

import math
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from jielong.baselines.ngram import NgramModel
from jielong.baselines.ngram_smoothing import FALLBACK_DISCOUNTS, estimate_discounts
from jielong.core.errors import CheckpointError, ConfigError, DataError

A, B, C = 0, 1, 2


def zipf(size: int, vocab: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    p = 1.0 / np.arange(1, vocab + 1)
    return rng.choice(vocab, size=size, p=p / p.sum())


class BruteForce:
    """Kneser-Ney with tuples in dictionaries, straight from the definition; slow and obvious."""

    def __init__(self, tokens: list[int], order: int, vocab: int, discounts: np.ndarray):
        self.order, self.vocab, self.discounts = order, vocab, discounts
        grams = [tuple(tokens[i : i + order]) for i in range(len(tokens) - order + 1)]
        self.counts: list[dict] = [{} for _ in range(order + 1)]
        self.counts[order] = Counter(grams)
        for k in range(1, order):
            left = defaultdict(set)
            for i in range(len(tokens) - k):
                left[tuple(tokens[i + 1 : i + 1 + k])].add(tokens[i])
            self.counts[k] = {gram: len(tokens) for gram, tokens in left.items()}

    def p(self, word: int, context: tuple[int, ...]) -> float:
        lower = self.p(word, context[1:]) if context else 1.0 / self.vocab
        k = len(context) + 1
        follow = {g[-1]: c for g, c in self.counts[k].items() if g[:-1] == context}
        total = sum(follow.values())
        if total == 0:
            return lower
        taken = {w: self.discounts[k - 1][min(c, 3) - 1] for w, c in follow.items()}
        kept = follow[word] - taken[word] if word in follow else 0.0
        return (kept + sum(taken.values()) * lower) / total


def test_bigram_by_hand() -> None:
    """a b a b a c: worked with one discount of 1/2.

    Left neighbours: a {b}, b {a}, c {a}: P1 = (1 - 1/2)/3 + (3/2)/3 * 1/3 = 1/3 for each.
    After a: b twice, c once: P(b|a) = (2 - 1/2)/3 + (1/2 + 1/2)/3 * 1/3 = 11/18,
    P(c|a) = (1 - 1/2)/3 + 1/9 = 5/18, P(a|a) = 1/9.   After b: a twice.
    P(a|b) = (2 - 1/2)/2 + 1/4 * 1/3 = 5/6.   After c nothing was seen: P1.
    """
    model = NgramModel.fit([A, B, A, B, A, C], 2, 3, discounts=np.full((2, 3), 0.5))
    np.testing.assert_allclose(model.distribution([A]), [1 / 9, 11 / 18, 5 / 18])
    np.testing.assert_allclose(model.distribution([B]), [5 / 6, 1 / 12, 1 / 12])
    np.testing.assert_allclose(model.distribution([C]), [1 / 3, 1 / 3, 1 / 3])
    np.testing.assert_allclose(np.exp(model.logp([A, C, B, A])), [1 / 3, 5 / 18, 1 / 3, 5 / 6])


def test_discounts_by_hand() -> None:
    """n1..n4 = 10, 4, 2, 1: Y = 10/18; D1 = 1 - 2Y*4/10, D2 = 2 - 3Y*2/4, D3 = 3 - 4Y/2."""
    counts = np.array([1] * 10 + [2] * 4 + [3] * 2 + [4])
    expected = (1 - 8 / 18, 2 - 15 / 18, 3 - 20 / 18)
    np.testing.assert_allclose(estimate_discounts(counts), expected)


@pytest.mark.parametrize("counts", [[], [1, 1, 2], [1] * 9 + [2] + [3] * 9 + [4]])
def test_discounts_fall_back(counts: list[int]) -> None:
    assert estimate_discounts(np.array(counts, dtype=np.int64)) == FALLBACK_DISCOUNTS


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_agrees_with_brute_force(order: int) -> None:
    train, held_out = zipf(600, 12, seed=1).tolist(), zipf(80, 12, seed=2).tolist()
    model = NgramModel.fit(train, order, 12)
    slow = BruteForce(train, order, 12, model.discounts)
    expected = [
        slow.p(w, tuple(held_out[max(0, i - order + 1) : i])) for i, w in enumerate(held_out)
    ]
    np.testing.assert_allclose(np.exp(model.logp(held_out)), expected, rtol=1e-10)


def test_agrees_with_brute_force_on_its_estimated_discounts() -> None:
    """Each row of discounts comes from the counts of counts of its own order."""
    train = zipf(3000, 40, seed=3).tolist()
    model = NgramModel.fit(train, 3, 40)
    slow = BruteForce(train, 3, 40, model.discounts)
    for k in (2, 3):
        n = Counter(slow.counts[k].values())
        y = n[1] / (n[1] + 2 * n[2])
        expected = [1 - 2 * y * n[2] / n[1], 2 - 3 * y * n[3] / n[2], 3 - 4 * y * n[4] / n[3]]
        np.testing.assert_allclose(model.discounts[k - 1], expected)


@pytest.mark.parametrize("size", [1, 2, 4, 2000])
def test_sums_to_one_after_any_context(size: int) -> None:
    train = zipf(size, 50, seed=4)
    model = NgramModel.fit(train, 5, 64)  # ids 50..63 are never seen
    rng = np.random.default_rng(5)
    contexts = [rng.integers(64, size=n) for n in (0, 1, 2, 4, 9)]
    contexts += [train[i : i + 4] for i in range(0, len(train), 97)] + [train[-4:], train[:4]]
    for context in contexts:
        p = model.distribution(context)
        assert p.min() > 0
        assert math.fsum(p) == pytest.approx(1.0, abs=1e-12)


def test_logp_is_the_distribution_of_the_last_tokens_only() -> None:
    train, held_out = zipf(4000, 30, seed=6), zipf(60, 30, seed=7)
    model = NgramModel.fit(train, 4, 30)
    expected = [np.log(model.distribution(held_out[:i])[w]) for i, w in enumerate(held_out)]
    # distribution reads its whole context from the right, so cutting it changes nothing
    cut = [
        np.log(model.distribution(held_out[max(0, i - 3) : i])[w]) for i, w in enumerate(held_out)
    ]
    np.testing.assert_allclose(model.logp(held_out), expected)
    np.testing.assert_allclose(cut, expected)


def test_learns_structure() -> None:
    """A cycle is certain to an n-gram and worth log 8 to a unigram."""
    cycle = np.tile(np.arange(8), 200)
    assert -NgramModel.fit(cycle, 1, 8).logp(cycle).mean() == pytest.approx(math.log(8), abs=1e-3)
    assert -NgramModel.fit(cycle, 3, 8).logp(cycle)[2:].mean() < 0.02


def test_save_and_load_change_nothing(tmp_path: Path) -> None:
    train, held_out = zipf(3000, 40, seed=8), zipf(200, 40, seed=9)
    model = NgramModel.fit(train, 5, 40)
    model.save(tmp_path / "ngram.npz")
    again = NgramModel.load(tmp_path / "ngram.npz")
    assert (again.order, again.vocab_size) == (5, 40)
    np.testing.assert_array_equal(again.logp(held_out), model.logp(held_out))


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ngram.npz"
    NgramModel.fit(zipf(3000, 40, seed=8), 3, 40).save(path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="not a whole n-gram file"):
        NgramModel.load(path)


def test_samples_follow_the_model() -> None:
    model = NgramModel.fit([A, B, A, B, A, C], 2, 3, discounts=np.full((2, 3), 0.5))
    draws = np.array([model.sample(1, seed, prompt=[A])[0] for seed in range(4000)])
    share = np.bincount(draws, minlength=3) / len(draws)
    np.testing.assert_allclose(share, [1 / 9, 11 / 18, 5 / 18], atol=0.03)  # 4 standard errors
    assert model.sample(20, seed=1) == model.sample(20, seed=1)


def test_bad_input_is_named() -> None:
    with pytest.raises(DataError, match="no tokens"):
        NgramModel.fit([], 3, 10)
    with pytest.raises(DataError, match=r"ids 1\.\.10"):
        NgramModel.fit([1, 10], 3, 10)
    with pytest.raises(DataError, match="one flat stream"):
        NgramModel.fit(np.array([[1, 2]]), 3, 10)
    with pytest.raises(ConfigError, match="order"):
        NgramModel.fit([1], 0, 10)
    with pytest.raises(ConfigError, match="discounts"):
        NgramModel.fit([1], 2, 10, discounts=np.full(3, 0.5))
