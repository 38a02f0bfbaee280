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
_TITLES = ("chapter", "section", "title", "rhythmic")
_NOTE = re.compile(
    r"（[^（）]*）|\([^()]*\)|\uff3b[^\uff3b\uff3d]*\uff3d|【[^【】]*】"
    r"|\[[一二三四五六七八九十]+\]|^\u3014[^\u3014\u3015]*\u3015",
    re.MULTILINE,
)
_MENDED = re.compile(r"\[([^\[\]]*)\]")  # a character that an editor has put right
_HAN = "\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_SOUND = re.compile(rf'[{_HAN}\s，。、；：？！“”‘’「」『』《》〈〉\u3014\u3015·・．…—～々"]*')
_EDITOR = re.compile(r"^.*：|[，/].*$")  # a dynasty before a name; a life, or a second name, after
_DAMAGED_TITLE = re.compile("[{}□�\u2ff0-\u2ffb\ue000-\uf8ff]")
_WIDENED = str.maketrans(",.;:?!", "，。；：？！")  # some files have a few of either width


class Piece(NamedTuple):
    """A poem, or a chapter of prose, in the script of the file."""

    title: str
    author: str
    lines: tuple[str, ...]


def parse(data: bytes) -> list[Piece]:
    """The pieces of one file, without notes in brackets, which are the editors'.

    Left out are pieces with gaps, or with characters that have no code.
    """
    return [piece for piece in _pieces(json.loads(data), "", "") if piece.lines]


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
    head = " ".join(filter(None, (f"《{piece.title}》" if piece.title else "", piece.author)))
    return pack(filter(None, (head, *piece.lines)), _PIECE_BYTES, separator="\n")


def _pieces(node: Any, book: str, author: str) -> Iterator[Piece]:  # noqa: ANN401 - any JSON value
    """Every object with lines of text; its title follows that of the book in which it stands."""
    if isinstance(node, list):
        for each in node:
            yield from _pieces(each, book, author)
    elif isinstance(node, dict):
        own = [_cleaned(str(node[name])).replace("○", "〇") for name in _TITLES if node.get(name)]
        author = _EDITOR.sub("", _cleaned(str(node.get("author") or author)))
        for name in ("paragraphs", "content"):
            found = node.get(name) or []
            if found and all(isinstance(line, str) for line in found):
                title = "·".join(dict.fromkeys(filter(None, (book, *own))))
                lines = _lines(found)
                if all(map(_SOUND.fullmatch, lines)) and not _DAMAGED_TITLE.search(title):
                    yield Piece(title, author, lines)
            else:
                yield from _pieces(found, book or "·".join(own), author)


def _lines(found: Iterable[str]) -> tuple[str, ...]:
    lines = _cleaned("\n".join(found)).translate(_WIDENED).splitlines()
    return tuple(line.strip() for line in lines if re.search(f"[{_HAN}]", line))


def _cleaned(text: str) -> str:
    """`text` without notes, which may stand inside each other and run over several lines."""
    while (shorter := _NOTE.sub("", text)) != text:
        text = shorter
    return _MENDED.sub(r"\1", text).strip()


def _simplifier(source: str) -> Callable[[str], str]:
    try:
        import opencc
    except ImportError:
        raise DataError(f"source {source!r} needs opencc: pip install 'jielong[data]'") from None
    return opencc.OpenCC("t2s").convert
