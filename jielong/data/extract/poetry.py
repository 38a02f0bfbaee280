"""Classical Chinese verse and prose, from JSON files that nest their pieces in many ways.

Much of it is in traditional script. `parse` keeps that; `documents` writes simplified script, which
is what the rest of the corpus has.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from jielong.core.errors import DataError
from jielong.data.archives import Member
from jielong.data.documents import Document, pack

_DOCUMENT_BYTES = 1000
_PIECE_BYTES = 2000
_TITLES = ("title", "rhythmic", "chapter", "subchapter", "section")
_NOTE = re.compile(r"（[^（）]*）|\([^()]*\)|［[^［］]*］|\[[^\[\]]*\]|【[^【】]*】")
_DAMAGE = re.compile(r"[{}□■○●◆�\ue000-\uf8ff\U000f0000-\U0010ffff]")


class Piece(NamedTuple):
    """A poem, or a chapter of prose, in the script of the file."""

    title: str
    author: str
    lines: tuple[str, ...]


def parse(data: bytes) -> list[Piece]:
    """The pieces of one file; those with gaps, or with characters that have no code, are left out.

    Notes in brackets, which are the editors' and not the authors', are cut.
    """
    return [piece for piece in _pieces(json.loads(data), (), "") if piece.lines]


def documents(source: str, members: Iterable[Member]) -> Iterator[Document]:
    """Neighbouring pieces of a file in simplified script, about 1 kB to a document.

    A poem is never cut, unless it is longer than two documents.
    """
    simplified = _simplifier(source)
    for member in members:
        texts = (text for piece in parse(member.data) for text in _told(piece))
        name = PurePosixPath(member.name).stem
        for part, text in enumerate(pack(texts, _DOCUMENT_BYTES)):
            key = f"{name}/{part}"
            yield Document(source=source, key=key, text=simplified(text), lang="zh", group=key)


def _told(piece: Piece) -> Iterator[str]:
    head = " ".join(part for part in (f"《{piece.title}》" if piece.title else "", piece.author) if part)
    return pack([head, *piece.lines] if head else piece.lines, _PIECE_BYTES, separator="\n")


def _pieces(node: Any, titles: tuple[str, ...], author: str) -> Iterator[Piece]:  # noqa: ANN401 - any JSON
    """Every object with lines of text, under the titles of all that it stands in."""
    if isinstance(node, list):
        for each in node:
            yield from _pieces(each, titles, author)
    elif isinstance(node, dict):
        own = (str(node[name]).strip() for name in _TITLES if node.get(name))
        titles = (*titles, *(title for title in own if title not in titles))
        author = str(node.get("author") or author).strip()
        for name in ("paragraphs", "content"):
            found = node.get(name) or []
            if found and all(isinstance(line, str) for line in found):
                yield Piece("·".join(titles), author, _lines(found))
            else:
                yield from _pieces(found, titles, author)


def _lines(found: Iterable[str]) -> tuple[str, ...]:
    lines = tuple(line for text in found if (line := _NOTE.sub("", text).strip()))
    return () if any(map(_DAMAGE.search, lines)) else lines


def _simplifier(source: str) -> Callable[[str], str]:
    try:
        import opencc
    except ImportError:
        raise DataError(f"source {source!r} needs opencc: pip install 'jielong[data]'") from None
    return opencc.OpenCC("t2s").convert
