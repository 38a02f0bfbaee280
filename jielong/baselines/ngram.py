"""Interpolated modified Kneser-Ney n-gram language model over token ids.

The bar a small neural model has to clear. Chen & Goodman 1998 (TR-10-98), eqs. 22-26:

    P_k(w | h) = (c(h w) - D(c(h w)))^+ / c(h)  +  gamma(h) P_{k-1}(w | h without its oldest token)
    gamma(h)   = (D1 N1(h) + D2 N2(h) + D3+ N3+(h)) / c(h)

At the highest order c is how often the gram was seen; below, how many different tokens were seen in
front of it. The recursion ends in the uniform distribution, so every token of the vocabulary has a
probability. A stream is one run of tokens: document boundaries are tokens like any other.

A gram is stored as one integer, `id of its prefix * vocabulary + last token`, in a sorted array per
order; its place there is its id. Everything is sorting and binary search in numpy.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jielong.core.errors import CheckpointError, ConfigError, DataError
from jielong.core.files import atomic_writer

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Tokens = Sequence[int] | NDArray[np.integer]

FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)
"""For counts of counts too thin to estimate from (tiny corpora, closed vocabularies)."""


@dataclass(frozen=True)
class _Order:
    """The grams of one length, and what their contexts pass down to the next shorter one."""

    keys: Ints  # (grams,)     sorted: context id * vocabulary + last token
    counts: Ints  # (grams,)     occurrences, or distinct left neighbours below the highest order
    kept: Floats  # (grams,)     count after its discount
    totals: Floats  # (contexts,)  sum of the counts that follow the context
    freed: Floats  # (contexts,)  sum of the discounts taken from them

    @classmethod
    def build(
        cls, keys: Ints, counts: Ints, discounts: Floats, contexts: int, vocab_size: int
    ) -> _Order:
        # A gram seen only at the very start of the stream has no left neighbour: count 0, kept 0.
        taken = np.concatenate([[0.0], discounts])[np.minimum(counts, 3)]
        seen = counts.astype(np.float64)
        taken = np.minimum(taken, seen)
        context = keys // vocab_size
        return cls(
            keys=keys,
            counts=counts,
            kept=seen - taken,
            # without any gram, bincount forgets its weights and counts in integers
            totals=np.bincount(context, weights=seen, minlength=contexts).astype(np.float64),
            freed=np.bincount(context, weights=taken, minlength=contexts).astype(np.float64),
        )


class NgramModel:
    """A fitted model; build one with `fit` or `load`."""

    def __init__(
        self, counted: list[tuple[Ints, Ints]], discounts: Floats, vocab_size: int
    ) -> None:
        self.vocab_size = vocab_size
        self.discounts = discounts  # (order, 3)  D1, D2, D3+ of each gram length, shortest first
        self._orders: list[_Order] = []
        contexts = 1  # the empty context
        for (keys, counts), row in zip(counted, discounts, strict=True):
            self._orders.append(_Order.build(keys, counts, row, contexts, vocab_size))
            contexts = len(keys)

    @property
    def order(self) -> int:
        """The longest gram, in tokens."""
        return len(self._orders)

    @classmethod
    def fit(
        cls,
        tokens: Tokens,
        order: int,
        vocab_size: int,
        discounts: Floats | None = None,
    ) -> NgramModel:
        """Count grams and estimate their discounts.

        Given discounts, one row (D1, D2, D3+) per gram length with the shortest first, replace the
        estimate; three equal values a row are the original, single-discount Kneser-Ney.
        """
        if order < 1:
            raise ConfigError(f"n-gram order: {order}: use 1 or more")
        stream = _checked(tokens, vocab_size)
        if len(stream) == 0:
            raise DataError("n-gram training text: no tokens: give it at least one")
        counted = _count(stream, order, vocab_size)
        if discounts is None:
            rows = np.array([estimate_discounts(counts) for _, counts in counted])
        else:
            rows = discounts
            if rows.shape != (order, 3):
                raise ConfigError(f"n-gram discounts: shape {rows.shape}: use ({order}, 3)")
        return cls(counted, rows, vocab_size)

    def logp(self, tokens: Tokens) -> Floats:
        """Natural log-probability of each token given up to `order - 1` before it."""
        stream = _checked(tokens, self.vocab_size)
        p = np.full(len(stream), 1.0 / self.vocab_size)
        context = np.zeros(len(stream), dtype=np.int64)  # id of the gram before each token, or -1
        for level in self._orders:
            gram = _find(level.keys, np.where(context < 0, -1, context * self.vocab_size + stream))
            known = np.flatnonzero(context >= 0)
            known = known[level.totals[context[known]] > 0]
            kept = np.where(gram[known] < 0, 0.0, level.kept[gram[known]])
            before = context[known]
            p[known] = (kept + level.freed[before] * p[known]) / level.totals[before]
            context = np.concatenate([np.full(min(1, len(gram)), -1), gram[:-1]])
        with np.errstate(divide="ignore"):  # only discounts given as 0 leave a probability of 0
            return np.log(p)

    def distribution(self, context: Tokens) -> Floats:
        """Probability of every token of the vocabulary after `context`; sums to one. # (V,)."""
        history = _checked(context, self.vocab_size)
        p = np.full(self.vocab_size, 1.0 / self.vocab_size)
        for length, level in enumerate(self._orders[: len(history) + 1]):
            node = self._node(history[len(history) - length :])
            if node < 0 or level.totals[node] == 0:
                break  # an unseen context has no longer one that was seen
            start, stop = np.searchsorted(
                level.keys, [node * self.vocab_size, (node + 1) * self.vocab_size]
            )
            p *= level.freed[node]
            p[level.keys[start:stop] - node * self.vocab_size] += level.kept[start:stop]
            p /= level.totals[node]
        return p

    def sample(self, length: int, seed: int, prompt: Tokens = ()) -> list[int]:
        """Draw `length` tokens that follow `prompt`, by inverse CDF."""
        rng = np.random.default_rng(seed)
        stream = _checked(prompt, self.vocab_size).tolist()
        begin = len(stream)
        for _ in range(length):
            recent = stream[max(0, len(stream) - self.order + 1) :]
            edges = np.cumsum(self.distribution(recent))
            draw = np.searchsorted(edges, rng.random() * edges[-1], side="right")
            stream.append(min(int(draw), self.vocab_size - 1))
        return stream[begin:]

    def save(self, path: Path) -> None:
        """Write counts and discounts as one `.npz`, atomically."""
        arrays = {"discounts": self.discounts, "vocab_size": np.array(self.vocab_size)}
        for length, level in enumerate(self._orders, start=1):
            arrays |= {f"keys_{length}": level.keys, f"counts_{length}": level.counts}
        with atomic_writer(path) as file:
            np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]

    @classmethod
    def load(cls, path: Path) -> NgramModel:
        """Read what `save` wrote."""
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                discounts = arrays["discounts"]
                lengths = range(1, len(discounts) + 1)
                counted = [(arrays[f"keys_{n}"], arrays[f"counts_{n}"]) for n in lengths]
                return cls(counted, discounts, int(arrays["vocab_size"]))
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            message = f"n-gram model: {path}: not a whole n-gram file ({error}); fit it again"
            raise CheckpointError(message) from error

    def _node(self, history: Ints) -> int:
        """The id of a gram among those of its length, 0 for the empty one, -1 when unseen."""
        node = 0
        for level, token in zip(self._orders, history.tolist(), strict=False):
            if node >= 0:
                node = int(_find(level.keys, np.array([node * self.vocab_size + token]))[0])
        return node


def estimate_discounts(counts: Ints) -> tuple[float, float, float]:
    """D1, D2, D3+ from counts of counts (Chen & Goodman 1998, eq. 26), or the fall-back.

    The estimate needs grams seen once to four times and Zipf-like counts; where it would leave
    [0, count] it is no discount at all.
    """
    n1, n2, n3, n4 = (int(np.count_nonzero(counts == n)) for n in (1, 2, 3, 4))
    if min(n1, n2, n3, n4) == 0:
        return FALLBACK_DISCOUNTS
    y = n1 / (n1 + 2 * n2)
    estimate = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    usable = all(0 < d <= count for count, d in enumerate(estimate, start=1))
    return estimate if usable else FALLBACK_DISCOUNTS


def _count(stream: Ints, order: int, vocab_size: int) -> list[tuple[Ints, Ints]]:
    """(sorted keys, Kneser-Ney counts) of the grams of each length, shortest first."""
    counted: list[tuple[Ints, Ints]] = []
    prefix = np.zeros(len(stream) + 1, dtype=np.int64)  # id of the gram before each token
    for length in range(1, order + 1):
        keys, ids, where, seen = _group(prefix[:-1] * vocab_size + stream[length - 1 :])
        if counted:  # each gram is one more left neighbour of the gram without its first token
            shorter = counted[-1][0]
            neighbours = np.bincount(prefix[1:][where], minlength=len(shorter))
            counted[-1] = (shorter, neighbours.astype(np.int64))
        counted.append((keys, seen))
        prefix = ids
    return counted


def _group(values: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Distinct values sorted, the rank of each value, one position of each, and its frequency.

    np.unique does the same with a stable sort, at several times the price.
    """
    order = np.argsort(values)
    ordered = values[order]
    first = np.ones(len(values), dtype=bool)
    first[1:] = ordered[1:] != ordered[:-1]
    starts = np.flatnonzero(first)
    ids = np.empty(len(values), dtype=np.int64)
    ids[order] = np.cumsum(first) - 1
    return ordered[starts], ids, order[starts], np.diff(np.append(starts, len(values)))


def _find(keys: Ints, wanted: Ints) -> Ints:
    """Place of each wanted value in the sorted keys, -1 where there is none."""
    place = np.searchsorted(keys, wanted)
    inside = place < len(keys)
    found = np.full(len(wanted), -1, dtype=np.int64)
    found[inside] = np.where(keys[place[inside]] == wanted[inside], place[inside], -1)
    return found


def _checked(tokens: Tokens, vocab_size: int) -> Ints:
    stream = np.asarray(tokens, dtype=np.int64)
    if stream.ndim != 1:
        raise DataError(f"tokens: {stream.ndim} dimensions: give one flat stream of ids")
    if len(stream) and not (stream.min() >= 0 and stream.max() < vocab_size):
        raise DataError(
            f"tokens: ids {stream.min()}..{stream.max()}: outside the vocabulary of {vocab_size}; "
            "use the tokenizer that the text was encoded with"
        )
    return stream
