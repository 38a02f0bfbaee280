"""Every source by its name: its members as documents, and what the lexicon is made from."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from jielong.data.archives import Member
from jielong.data.documents import Document
from jielong.data.extract import (
    cedict,
    chatter,
    django,
    hsk,
    laws,
    poetry,
    sanguo,
    stdlib,
    thuocl,
    wordnet,
)

_VERSE = ("poetry-classics", "poetry-tang", "poetry-ci", "poetry-qu", "poetry-song")
_DOCUMENTS: dict[str, Callable[[Iterable[Member]], Iterator[Document]]] = {
    "laws": lambda members: laws.documents(laws.parse(_only(members))),
    "cedict": lambda members: cedict.documents(cedict.parse(_only(members))),
    "sanguo": lambda members: sanguo.documents(sanguo.parse(_only(members))),
    "hsk": lambda members: hsk.documents(hsk.parse(_only(members))),
    "thuocl": lambda _: iter(()),  # lists of words are no running text
    "stdlib": lambda _: stdlib.documents(stdlib.parse()),
    "chatter": lambda members: chatter.documents(chatter.parse(members)),
    "django": django.documents,
    "wordnet": wordnet.documents,
    **{source: partial(poetry.documents, source) for source in _VERSE},
}


def documents(source: str, members: Iterable[Member] = ()) -> Iterator[Document]:
    """The running text of one source, uncleaned, from the members of any one of its parts.

    The parts of a source give documents of different keys, and each can be read by itself.
    """
    return _DOCUMENTS[source](members)


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """What the lexicon is made from; a source that a recipe leaves out is empty."""

    entries: list[cedict.Entry] = field(default_factory=list)
    chapters: list[sanguo.Chapter] = field(default_factory=list)
    pairs: list[hsk.Pair] = field(default_factory=list)
    fields: dict[str, list[str]] = field(default_factory=dict)
    modules: list[stdlib.Module] = field(default_factory=list)


_PARSERS = {
    "cedict": ("entries", cedict.parse),
    "sanguo": ("chapters", sanguo.parse),
    "hsk": ("pairs", hsk.parse),
    "thuocl": ("fields", thuocl.parse),
}
LEXICON_SOURCES = frozenset(_PARSERS)
"""The sources whose members `parse` takes."""


def parse(members: Mapping[str, bytes], *, with_stdlib: bool) -> Corpus:
    """Parse each source's member (source id -> bytes), and the standard library if asked for."""
    found: dict[str, Any] = {}
    for source, data in members.items():
        name, parser = _PARSERS[source]
        found[name] = parser(data)
    if with_stdlib:
        found["modules"] = stdlib.parse()
    return Corpus(**found)


def _only(members: Iterable[Member]) -> bytes:
    [member] = members
    return member.data
