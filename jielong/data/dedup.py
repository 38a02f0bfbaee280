"""What repeats: texts that are the same but for spelling, and groups that quote each other.

Texts are compared in a form that ignores case, width, spaces and punctuation.
"""

import hashlib
import re
import unicodedata
from array import array
from collections.abc import Iterable, Iterator, MutableSequence, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jielong.data.clean import units

PARAGRAPH_END = "\n\n"
_PARAGRAPH_UNITS = 40  # a shorter paragraph may well be said twice
_NOT_COMPARED = re.compile(r"[\W_]+")
_CLAUSE_END = re.compile(r"[，。；：！？、\n]|[,.;:] ")
_CLAUSE_BYTES = 30  # ten Han characters
_BOILERPLATE_GROUPS = 6
_TIED_CLAUSES = 3
_TIED_SHARE = 0.05
_COPIED_SHARE = 0.5  # "most"
_PENDING = 2**18  # pairs that may wait to be summed
_HALF = np.uint64(32)
_LOW = np.uint64(2**32 - 1)


def comparison_form(text: str) -> str:
    """Letters and digits only, in one width and one case."""
    return _NOT_COMPARED.sub("", unicodedata.normalize("NFKC", text).casefold())


def digest(text: str) -> int:
    """64 bits by which texts of one comparison form are known."""
    return _bits(comparison_form(text))


def long_paragraphs(text: str) -> Iterator[tuple[int, str]]:
    """(place, text) of the paragraphs too long for a repetition to be an accident."""
    for place, paragraph in enumerate(text.split(PARAGRAPH_END)):
        if len(units(paragraph)) >= _PARAGRAPH_UNITS:
            yield place, paragraph


def clause_digests(text: str) -> list[int]:
    """64 bits for each different clause of some length, cut at punctuation."""
    clauses = {
        " ".join(clause.split())
        for clause in _CLAUSE_END.split(text)
        if len(clause.encode()) >= _CLAUSE_BYTES
    }
    return sorted(map(_bits, clauses))


def clusters(count: int, batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> NDArray[np.int64]:
    """For each of `count` groups the first group of its cluster: groups that repeat each other.

    `batches` are (digests of clauses, the group of each), all of one clause in one batch. Sister
    statutes share clauses that few others hold. A clause of many groups is boilerplate and ties
    none, unless it is among most of the clauses of one of the two: then that one is a copy.
    """
    sizes = np.zeros(count, dtype=np.int64)
    rare, common = _Counts(), _Counts()
    for clauses, owners in batches:
        entries = _distinct_entries(clauses, owners)
        sizes += np.bincount(entries.owners, minlength=count)
        _count_shared(*entries, rare, common)
    few = rare.total()
    both = _Counts([few, common.total()]).total()
    root = array("q", range(count))
    for shared, share in ((few, _TIED_SHARE), (both, _COPIED_SHARE)):
        first, second = shared.pairs >> _HALF, shared.pairs & _LOW
        smaller = np.minimum(sizes[first], sizes[second])
        tied = (shared.counts >= _TIED_CLAUSES) & (shared.counts >= share * smaller)
        for one, other in zip(first[tied], second[tied], strict=True):
            _union(root, int(one), int(other))
    return np.array([_find(root, group) for group in range(count)], dtype=np.int64)


class _Entries(NamedTuple):
    """Clauses and the groups that hold them, in this order."""

    clauses: NDArray[np.uint64]
    owners: NDArray[np.int64]


class _Shared(NamedTuple):
    """Pairs of groups, first × 2³² + second, and how many clauses both hold."""

    pairs: NDArray[np.uint64]
    counts: NDArray[np.int64]


class _Counts:
    """A sum over many `_Shared`, in little more room than the sum itself."""

    def __init__(self, parts: Sequence[_Shared] = ()) -> None:
        self._parts = list(parts)
        self._summed = 0

    def add(self, pairs: NDArray[np.uint64]) -> None:
        """Each pair shares one more clause."""
        self._parts.append(_sum([_Shared(pairs, np.ones(len(pairs), dtype=np.int64))]))
        # Only when as much again has come in, so that nothing is summed over and over.
        if sum(len(part.pairs) for part in self._parts) > 2 * self._summed + _PENDING:
            self._summed = len(self.total().pairs)

    def total(self) -> _Shared:
        """The sum so far."""
        self._parts = [_sum(self._parts)]
        return self._parts[0]


def _sum(parts: Sequence[_Shared]) -> _Shared:
    pairs = np.concatenate([np.empty(0, dtype=np.uint64), *(part.pairs for part in parts)])
    counts = np.concatenate([np.empty(0, dtype=np.int64), *(part.counts for part in parts)])
    order = np.argsort(pairs)
    starts = _starts(pairs := pairs[order])
    return _Shared(pairs[starts], np.add.reduceat(counts[order], starts) if len(pairs) else counts)


def _distinct_entries(clauses: np.ndarray, owners: np.ndarray) -> _Entries:
    order = np.lexsort((owners, clauses))
    clauses, owners = clauses[order], owners[order].astype(np.int64)
    is_new = np.ones(len(order), dtype=np.bool_)
    is_new[1:] = (clauses[1:] != clauses[:-1]) | (owners[1:] != owners[:-1])
    return _Entries(clauses[is_new], owners[is_new])


def _count_shared(
    clauses: NDArray[np.uint64], owners: NDArray[np.int64], rare: _Counts, common: _Counts
) -> None:
    """All pairs of the few groups that hold a clause; of many, neighbours alone.

    Copies stand side by side among the holders of nearly all of their clauses, so neighbours are
    enough to chain them.
    """
    starts = _starts(clauses)
    lengths = np.diff(starts, append=len(clauses))
    is_rare = np.repeat(lengths <= _BOILERPLATE_GROUPS, lengths)
    packed = owners.astype(np.uint64)
    for distance in range(1, _BOILERPLATE_GROUPS):
        same = clauses[distance:] == clauses[:-distance]
        pairs = packed[:-distance] << _HALF | packed[distance:]
        rare.add(pairs[same & is_rare[distance:]])
        if distance == 1:
            common.add(pairs[same & ~is_rare[distance:]])


def _starts(values: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Where each run of equal values begins."""
    is_new = np.ones(len(values), dtype=np.bool_)
    is_new[1:] = values[1:] != values[:-1]
    return np.flatnonzero(is_new)


def _bits(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _find(root: MutableSequence[int], group: int) -> int:
    while root[group] != group:
        root[group] = root[root[group]]
        group = root[group]
    return group


def _union(root: MutableSequence[int], first: int, second: int) -> None:
    low, high = sorted((_find(root, first), _find(root, second)))
    root[high] = low
