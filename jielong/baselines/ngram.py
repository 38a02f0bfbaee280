"""N-gram language models over token ids: log P(s) = sum_i log P(w_i | w_{i-n+1} .. w_{i-1}).

The bar a small neural model has to clear. By default interpolated modified Kneser-Ney smoothing,
Chen & Goodman 1998 (TR-10-98), section 3:

    P_k(w | h) = (c(h w) - D(c(h w)))^+ / c(h)  +  gamma(h) P_{k-1}(w | h without its oldest token)
    gamma(h)   = (D1 N1(h) + D2 N2(h) + D3+ N3+(h)) / c(h)

At the highest order c is how often the gram was seen; below, how many different tokens were seen in
front of it. The recursion ends in the uniform distribution, so every token of the vocabulary has a
probability. Katz backoff and add-k are there to be compared with it. A stream is one run of tokens:
document boundaries are tokens like any other.

A gram is stored as one integer, `id of its prefix * vocabulary + last token`, in a sorted array per
order; its place there is its id. Everything is sorting and binary search in numpy.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

import numpy as np
from numpy.typing import NDArray

from jielong.baselines import ngram_smoothing as rules
from jielong.baselines.ngram_smoothing import Floats, Ints, Kind, Smoothing, estimate_discounts
from jielong.core.errors import CheckpointError, ConfigError, DataError
from jielong.core.files import atomic_writer

# What numpy raises where a file's arrays are of other types, shapes or ranges than ours.
_DAMAGED = (OSError, ValueError, KeyError, TypeError, IndexError, MemoryError)
Tokens = Sequence[int] | NDArray[np.integer]


@dataclass(frozen=True)
class _Order:
    """The grams of one length; `own` and `rest` are what the smoothing made of their counts."""

    keys: Ints  # (grams,)     sorted: context id * vocabulary + last token
    counts: Ints  # (grams,)     as stored
    own: Floats  # (grams,)
    rest: Floats  # (contexts,)


class NgramModel:
    """A fitted model; build one with `fit` or `load`."""

    def __init__(
        self,
        counted: list[tuple[Ints, Ints]],
        discounts: Floats,
        vocab_size: int,
        smoothing: Smoothing | None = None,
    ) -> None:
        self.vocab_size = vocab_size
        self.discounts = discounts  # (order, 3)  D1, D2, D3+ of each gram length, shortest first
        self.smoothing = smoothing or Smoothing()
        self._orders: list[_Order] = []
        lower = np.empty(0)
        suffix = np.empty(0, dtype=np.int64)
        contexts = 1  # the empty context
        for (keys, counts), row in zip(counted, discounts, strict=True):
            context, last = np.divmod(keys, vocab_size)
            match self.smoothing.kind:
                case "kneser-ney":
                    own, rest = rules.kneser_ney(counts, context, contexts, row)
                case "add-k":
                    own, rest = rules.add_k(counts, context, contexts, self.smoothing.k, vocab_size)
                case "katz":
                    if self._orders:  # each gram without its oldest token was seen as well
                        shorter = suffix[context] * vocab_size + last
                        suffix = _find(self._orders[-1].keys, shorter)
                        lower = self._orders[-1].own[suffix]
                    else:
                        suffix = np.zeros(len(keys), dtype=np.int64)
                        lower = np.full(len(keys), 1.0 / vocab_size)
                    own, rest = rules.katz(counts, context, contexts, lower)
            self._orders.append(_Order(keys, counts, own, rest))
            contexts = len(keys)

    @property
    def order(self) -> int:
        """The longest gram, in tokens."""
        return len(self._orders)

    @property
    def entries(self) -> int:
        """How many different grams are kept, of all lengths."""
        return sum(len(level.keys) for level in self._orders)

    def counts(self) -> dict[str, Ints]:
        """What was counted, by name: `keys_N` and `counts_N` of each gram length N."""
        arrays: dict[str, Ints] = {}
        for length, level in enumerate(self._orders, start=1):
            arrays |= {f"keys_{length}": level.keys, f"counts_{length}": level.counts}
        return arrays

    @classmethod
    def fit(
        cls,
        tokens: Tokens,
        order: int,
        vocab_size: int,
        discounts: Floats | None = None,
        smoothing: Smoothing | None = None,
    ) -> NgramModel:
        """Count grams and estimate their discounts.

        Given discounts, one row (D1, D2, D3+) per gram length with the shortest first, replace the
        estimate of Kneser-Ney; three equal values a row are the original, single-discount one.
        """
        smoothing = smoothing or Smoothing()
        if order < 1:
            raise ConfigError(f"n-gram order: {order}: use 1 or more")
        stream = _checked(tokens, vocab_size)
        if len(stream) == 0:
            raise DataError("n-gram training text: no tokens: give it at least one")
        counted = _count(stream, order, vocab_size, neighbours=smoothing.kind == "kneser-ney")
        if discounts is None:
            rows = np.array([estimate_discounts(counts) for _, counts in counted])
        else:
            rows = discounts
            if rows.shape != (order, 3):
                raise ConfigError(f"n-gram discounts: shape {rows.shape}: use ({order}, 3)")
        return cls(counted, rows, vocab_size, smoothing)

    def logp(self, tokens: Tokens) -> Floats:
        """Natural log-probability of each token given up to `order - 1` before it."""
        stream = _checked(tokens, self.vocab_size)
        uniform = np.full(len(stream), 1.0 / self.vocab_size)
        p = uniform.copy()
        context = np.zeros(len(stream), dtype=np.int64)  # id of the gram before each token, or -1
        for length, level in enumerate(self._orders):
            gram = _find(level.keys, np.where(context < 0, -1, context * self.vocab_size + stream))
            if self.smoothing.kind == "add-k":
                p[length:] = uniform[length:]  # whatever shorter contexts knew
            known, seen = context >= 0, gram >= 0
            p[known] *= level.rest[context[known]]
            if self.smoothing.kind == "katz":
                p[seen] = 0.0
            p[seen] += level.own[gram[seen]]
            context = np.concatenate([np.full(min(1, len(gram)), -1), gram[:-1]])
        with np.errstate(divide="ignore"):  # only unsmoothed counts leave a probability of 0
            return np.log(p)

    def perplexity(self, tokens: Tokens) -> float:
        """exp of the mean loss a token, in nats: among how many it is as if one had to guess."""
        return float(np.exp(-self.logp(tokens).mean()))

    def distribution(self, context: Tokens) -> Floats:
        """Probability of every token of the vocabulary after `context`; sums to one. # (V,)."""
        history = _checked(context, self.vocab_size)
        uniform = np.full(self.vocab_size, 1.0 / self.vocab_size)
        p = uniform
        for length, level in enumerate(self._orders[: len(history) + 1]):
            lower = uniform if self.smoothing.kind == "add-k" else p
            node = self._node(history[len(history) - length :])
            if node < 0:  # nor was any longer context seen
                return lower
            start, stop = np.searchsorted(
                level.keys, [node * self.vocab_size, (node + 1) * self.vocab_size]
            )
            followers = level.keys[start:stop] - node * self.vocab_size
            p = lower * level.rest[node]
            if self.smoothing.kind == "katz":
                p[followers] = 0.0
            p[followers] += level.own[start:stop]
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
        arrays = {
            "discounts": self.discounts,
            "vocab_size": np.array(self.vocab_size),
            "smoothing": np.array(self.smoothing.kind),
            "k": np.array(self.smoothing.k),
            **self.counts(),
        }
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
                smoothing = _read_smoothing(arrays)
                return cls(counted, discounts, int(arrays["vocab_size"]), smoothing)
        except (*_DAMAGED, zipfile.BadZipFile) as error:
            message = f"n-gram model: {path}: not a whole n-gram file ({error}); fit it again"
            raise CheckpointError(message) from error

    def _node(self, history: Ints) -> int:
        """The id of a gram among those of its length, 0 for the empty one, -1 when unseen."""
        node = 0
        for level, token in zip(self._orders, history.tolist(), strict=False):
            if node >= 0:
                node = int(_find(level.keys, np.array([node * self.vocab_size + token]))[0])
        return node


def _read_smoothing(arrays: Mapping[str, NDArray]) -> Smoothing:
    """The rule that a file names; files of before there was a choice name none."""
    if "smoothing" not in arrays:
        return Smoothing()
    kind = str(arrays["smoothing"])
    if kind not in get_args(Kind):
        raise ValueError(f"unknown smoothing {kind}")
    return Smoothing(kind=cast(Kind, kind), k=float(arrays["k"]))


def _count(
    stream: Ints, order: int, vocab_size: int, *, neighbours: bool
) -> list[tuple[Ints, Ints]]:
    """(sorted keys, counts) of the grams of each length, shortest first.

    With `neighbours` all but the longest are counted as Kneser-Ney does: by the number of different
    tokens that stood in front of them.
    """
    counted: list[tuple[Ints, Ints]] = []
    prefix = np.zeros(len(stream) + 1, dtype=np.int64)  # id of the gram before each token
    for length in range(1, order + 1):
        keys, ids, where, seen = _group(prefix[:-1] * vocab_size + stream[length - 1 :])
        if neighbours and counted:  # one more left neighbour of the gram without its first token
            shorter = counted[-1][0]
            in_front = np.bincount(prefix[1:][where], minlength=len(shorter))
            counted[-1] = (shorter, in_front.astype(np.int64))
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
