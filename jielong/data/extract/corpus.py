"""All sources of a run, parsed once: documents and the lexicon are both made from this."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from jielong.data.documents import Document
from jielong.data.extract import cedict, hsk, laws, sanguo, stdlib, thuocl


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """What each source holds; a source that a recipe leaves out is empty."""

    articles: list[laws.Article] = field(default_factory=list)
    entries: list[cedict.Entry] = field(default_factory=list)
    chapters: list[sanguo.Chapter] = field(default_factory=list)
    pairs: list[hsk.Pair] = field(default_factory=list)
    fields: dict[str, list[str]] = field(default_factory=dict)
    modules: list[stdlib.Module] = field(default_factory=list)

    def documents(self) -> Iterator[Document]:
        """The running text of every source, uncleaned."""
        yield from laws.documents(self.articles)
        yield from cedict.documents(self.entries)
        yield from sanguo.documents(self.chapters)
        yield from hsk.documents(self.pairs)
        yield from stdlib.documents(self.modules)


_PARSERS = {
    "laws": ("articles", laws.parse),
    "cedict": ("entries", cedict.parse),
    "sanguo": ("chapters", sanguo.parse),
    "hsk": ("pairs", hsk.parse),
    "thuocl": ("fields", thuocl.parse),
}


def parse(members: Mapping[str, bytes], *, with_stdlib: bool) -> Corpus:
    """Parse each source's member (source id -> bytes), and the standard library if asked for."""
    found: dict[str, Any] = {}
    for source, data in members.items():
        name, parser = _PARSERS[source]
        found[name] = parser(data)
    if with_stdlib:
        found["modules"] = stdlib.parse()
    return Corpus(**found)
