"""Which documents repeat another one with small changes, and which of them stays.

Every document has a rank: sources in the order of trust, then ids. A document goes if it is
similar enough to one of smaller rank that stays; so no chain a ~ b ~ c takes c for its likeness to
b, which went, and the result does not depend on how the documents were cut into parts.

Memory: band by band from files, about 100 bytes a document whatever its length, and 8 bytes for
each pair that shares a key. Only the documents of such pairs are read again.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jielong.core.files import atomic_writer
from jielong.data.grams import distinct
from jielong.data.minhash import NO_KEY, NearConfig, jaccard, shingles

_LEADERS = 8  # all pairs of a bucket of up to nine; above that, pairs with the first eight
_CACHED_TEXTS = 64
_HALF = np.uint64(32)
_LOW = np.uint64(2**32 - 1)

Fetch = Callable[[int, int], str]
"""The text of a document, given its part and its row in it."""


@dataclass(frozen=True, kw_only=True)
class NearDuplicate:
    """A document that goes, by (part, row), and the one that stays for it."""

    document: tuple[int, int]
    kept: tuple[int, int]
    jaccard: float


def save_keys(path: Path, keys: NDArray[np.uint32]) -> None:
    """Write one part's band keys; the file is whole or absent."""
    with atomic_writer(path) as file:
        np.save(file, keys)


def ranks(trust: NDArray[np.integer], ids: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """Each document's place in the order of (its source's place in the list of trust, its id)."""
    found = np.empty(len(ids), dtype=np.uint32)
    found[np.lexsort((ids, trust))] = np.arange(len(ids), dtype=np.uint32)
    return found


def find(
    parts: Sequence[Path],
    rank: NDArray[np.uint32],
    fetch: Fetch,
    config: NearConfig,
    left: NDArray[np.bool_] | None = None,
) -> Iterator[NearDuplicate]:
    """The documents that go, in the order of their ranks.

    `parts` are the files of band keys, `rank` is that of every document, part after part; `left`
    says which of them take part, if not all do.
    """
    place = np.argsort(rank)  # from a rank back to the document's number
    starts = np.cumsum([0, *(_open(part).shape[1] for part in parts)])

    def locate(of_rank: int) -> tuple[int, int]:
        part = int(np.searchsorted(starts, place[of_rank], side="right")) - 1
        return part, int(place[of_rank] - starts[part])

    @lru_cache(_CACHED_TEXTS)
    def shingles_of(of_rank: int) -> NDArray[np.uint64]:
        return shingles(fetch(*locate(of_rank)), config.ngram)

    gone = np.zeros(len(rank), dtype=np.bool_)
    # Sorted by the later of the two: whether the earlier one stays is settled by then.
    for later, earlier in map(np.ndarray.tolist, candidate_pairs(parts, rank, left)):
        if gone[later] or gone[earlier]:
            continue
        similarity = jaccard(shingles_of(later), shingles_of(earlier))
        if similarity >= config.jaccard:
            gone[later] = True
            yield NearDuplicate(document=locate(later), kept=locate(earlier), jaccard=similarity)


def candidate_pairs(
    parts: Sequence[Path], rank: NDArray[np.uint32], left: NDArray[np.bool_] | None = None
) -> NDArray[np.uint32]:
    """The pairs (later rank, earlier rank) that share a key in some band, sorted."""
    pairs = np.empty(0, dtype=np.uint64)
    for band in range(len(_open(parts[0])) if parts else 0):
        # Opened anew for each band, and copied: a file that stays mapped stays open, and stays in
        # memory once it was read.
        keys = np.concatenate([np.array(_open(part)[band]) for part in parts])
        if left is not None:
            keys[~left] = NO_KEY
        pairs = distinct(np.concatenate([pairs, _pairs_of_band(keys, rank)]))
    return np.stack([pairs >> _HALF, pairs], axis=1).astype(np.uint32)


def _open(part: Path) -> NDArray[np.uint32]:
    return np.load(part, mmap_mode="r")


def _pairs_of_band(keys: NDArray[np.uint32], rank: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """The pairs of documents with one key, as later rank × 2³² + earlier rank."""
    # Key and rank in one word: a plain sort, faster than an argsort and half its size, leaves
    # the bucket of each key in the order of ranks.
    entries = keys.astype(np.uint64) << _HALF
    entries |= rank
    entries = entries[keys != NO_KEY]
    entries.sort()
    follows = np.zeros(len(entries), dtype=np.bool_)
    follows[1:] = entries[1:] ^ entries[:-1] <= _LOW
    shared = follows.copy()
    shared[:-1] |= follows[1:]
    members, follows = entries[shared] & _LOW, follows[shared]
    number = np.arange(len(members))
    first = np.maximum.accumulate(np.where(follows, 0, number))
    found = [np.empty(0, dtype=np.uint64)]
    for leader in range(_LEADERS):
        later = number[number - first > leader]
        found.append((members[later] << _HALF) | members[first[later] + leader])
    return np.concatenate(found)
