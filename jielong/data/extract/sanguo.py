"""The novel 三国演义, chapter by chapter, cut at paragraph ends."""

import json
from collections.abc import Iterable, Iterator

from jielong.data.documents import Document, pack

_DOCUMENT_BYTES = 2000

Chapter = list[str]
"""The paragraphs of a chapter, its title first."""


def documents(chapters: Iterable[Chapter]) -> Iterator[Document]:
    """Pieces of each chapter of about 2 kB; a chapter is one group."""
    for chapter in chapters:
        title = chapter[0]
        for part, text in enumerate(pack(chapter, _DOCUMENT_BYTES)):
            yield Document(
                source="sanguo", key=f"{title}/{part}", text=text, lang="zh", group=title
            )


def parse(data: bytes) -> list[Chapter]:
    """All chapters, without empty lines and indentation."""
    split = ([line.strip() for line in text.splitlines()] for text in json.loads(data))
    return [[line for line in lines if line] for lines in split if any(lines)]
