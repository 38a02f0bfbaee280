"""What repeats: texts that are the same but for spelling, and groups that quote each other.

Texts are compared in a form that ignores case, width, spaces and punctuation.
"""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from jielong.data.clean import units

PARAGRAPH_END = "\n\n"
_PARAGRAPH_UNITS = 40  # a shorter paragraph may well be said twice
_NOT_COMPARED = re.compile(r"[\W_]+")
_CLAUSE_END = re.compile(r"[，。；：！？、\n]|[,.;:] ")
_CLAUSE_BYTES = 30  # ten Han characters
_BOILERPLATE_GROUPS = 6
_TIED_CLAUSES = 3
_TIED_SHARE = 0.05


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


def clusters(names: Sequence[str], clauses: np.ndarray, owners: np.ndarray) -> list[str]:
    """For each group the name of its cluster: groups that repeat much of each other.

    `clauses` (C,) are digests and `owners` (C,) the group of each. Sister statutes share clauses;
    a clause of many groups is boilerplate and ties none.
    """
    rank = np.empty(len(names), dtype=np.int64)
    by_name = sorted(range(len(names)), key=lambda group: names[group])
    rank[by_name] = np.arange(len(names))
    pairs = np.unique(np.stack([clauses, rank[owners].astype(np.uint64)], axis=1), axis=0)
    counts = np.bincount(pairs[:, 1].astype(np.int64), minlength=len(names))
    starts = np.flatnonzero(np.diff(pairs[:, 0], prepend=~pairs[:1, 0])) if len(pairs) else []
    shared = Counter(
        pair
        for holders in np.split(pairs[:, 1].astype(np.int64), starts[1:])
        if 1 < len(holders) <= _BOILERPLATE_GROUPS
        for pair in combinations(holders.tolist(), 2)
    )
    root = list(range(len(names)))
    for (first, second), count in sorted(shared.items()):
        smaller = min(counts[first], counts[second])
        if count >= _TIED_CLAUSES and count >= _TIED_SHARE * smaller:
            _union(root, first, second)
    return [names[by_name[_find(root, int(rank[group]))]] for group in range(len(names))]


def _bits(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _find(root: list[int], group: int) -> int:
    while root[group] != group:
        group = root[group]
    return group


def _union(root: list[int], first: int, second: int) -> None:
    low, high = sorted((_find(root, first), _find(root, second)))
    root[high] = low
