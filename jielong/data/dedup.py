"""What repeats: exact duplicates, which go, and groups so alike that they must stay together.

Duplicates are found in a form that ignores case, width, spaces and punctuation. The survivor is the
first in the order of source rank and then id, whatever the order in which documents arrive.
"""

import hashlib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations

from jielong.data.clean import units
from jielong.data.documents import Document

_NOT_ALPHANUMERIC = re.compile(r"[\W_]+")
_WIDE_PUNCTUATION = re.compile(
    "[\u2010-\u2027\u2030-\u205e\u3001-\u3003\u3008-\u3020"
    "\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65]+"
)
_PARAGRAPH_UNITS = 40  # a shorter paragraph may well be said twice
_CLAUSE_END = re.compile(r"[，。；：！？、\n]|[,.;:] ")
_CLAUSE_BYTES = 30  # ten Han characters
_BOILERPLATE_GROUPS = 6
_TIED_CLAUSES = 3
_TIED_SHARE = 0.05


def comparison_form(text: str) -> str:
    """Letters and digits only, in one width and one case."""
    if not text.isascii():
        # Chinese text without its punctuation mostly is in NFKC already, which is soon seen.
        text = unicodedata.normalize("NFKC", _WIDE_PUNCTUATION.sub(" ", text))
    return _NOT_ALPHANUMERIC.sub("", text.casefold())


def exact(documents: Iterable[Document], ranks: Sequence[str]) -> list[Document]:
    """Drop repeated documents, and repeated paragraphs long enough to be no accident.

    `ranks` lists the sources, the most trusted first.
    """
    rank = {source: number for number, source in enumerate(ranks)}
    texts: set[bytes] = set()
    paragraphs: set[bytes] = set()
    kept = []
    for document in sorted(documents, key=lambda found: (rank[found.source], found.id)):
        if _is_repeat(document.text, texts):
            continue
        parts = document.text.split("\n\n")
        fresh = [part for part in parts if not _is_long(part) or not _is_repeat(part, paragraphs)]
        if len(fresh) == len(parts):
            kept.append(document)
        elif any(map(_is_long, fresh)):  # else nothing but headings is left of it
            kept.append(replace(document, text="\n\n".join(fresh)))
    return kept


def _is_long(paragraph: str) -> bool:
    return len(units(paragraph)) >= _PARAGRAPH_UNITS


def _is_repeat(text: str, seen: set[bytes]) -> bool:
    """Whether the text's comparison form was met before; remembers it."""
    digest = hashlib.sha256(comparison_form(text).encode()).digest()[:16]
    if digest in seen:
        return True
    seen.add(digest)
    return False


def clusters(documents: Iterable[Document]) -> dict[str, str]:
    """Each group's cluster: groups that repeat much of each other, as sister statutes do.

    Compared are clauses, cut at punctuation. A clause of many groups is boilerplate and ties none.
    """
    clauses: dict[str, set[str]] = defaultdict(set)
    for document in documents:
        clauses[document.group].update(_clauses(document.text))
    holders: dict[str, list[str]] = defaultdict(list)
    for group in sorted(clauses):
        for clause in clauses[group]:
            holders[clause].append(group)
    shared = Counter(
        pair
        for groups in holders.values()
        if 1 < len(groups) <= _BOILERPLATE_GROUPS
        for pair in combinations(groups, 2)
    )
    root = {group: group for group in clauses}
    for (first, second), count in sorted(shared.items()):
        smaller = min(len(clauses[first]), len(clauses[second]))
        if count >= _TIED_CLAUSES and count >= _TIED_SHARE * smaller:
            _union(root, first, second)
    return {group: _find(root, group) for group in root}


def _clauses(text: str) -> Iterator[str]:
    for clause in _CLAUSE_END.split(text):
        if len(clause.encode()) >= _CLAUSE_BYTES:
            yield " ".join(clause.split())


def _find(root: dict[str, str], group: str) -> str:
    while root[group] != group:
        group = root[group]
    return group


def _union(root: dict[str, str], first: str, second: str) -> None:
    low, high = sorted((_find(root, first), _find(root, second)))
    root[high] = low
