"""Long text into documents, where a reader would pause, without ever holding all of it."""

import re
from collections.abc import Iterable, Iterator

_SHORTEST = 0.25  # of the wanted size: a cut before this would leave a scrap
_BREAKS = (
    re.compile(r"\n[ \t\u3000]*\n"),
    re.compile(r"\n"),
    re.compile(r"[。！？…]+[”’」』）]*|[.!?]+[\"'”’)\]]*(?=\s)"),
    re.compile(r"\s"),
)
"""Where to cut, the best first: blank lines, line ends, sentence ends, spaces."""

_BLANK_LINES_FIRST = re.compile(r"\A(?:[^\S\n]*\n)+")


def cut(texts: Iterable[str], document_bytes: int) -> Iterator[str]:
    """The joined `texts` in pieces of at most `document_bytes`, without the white space between.

    Where the pieces end depends on the text alone, not on how it arrives. A character is never
    cut, so a piece may be larger where one character is.
    """
    held, start = "", 0
    for text in _in_blocks(texts, document_bytes):
        held, start = held[start:] + text, 0
        while len(held) - start > document_bytes:
            end = start + _piece_length(held[start : start + document_bytes + 1], document_bytes)
            yield from _trimmed(held[start:end])
            start = end
    while start < len(held):
        rest = held[start : start + document_bytes + 1]
        is_last = len(rest.encode()) <= document_bytes
        end = len(held) if is_last else start + _piece_length(rest, document_bytes)
        yield from _trimmed(held[start:end])
        start = end


def _in_blocks(texts: Iterable[str], size: int) -> Iterator[str]:
    """The same text in blocks that are long against a document, so that little is copied twice."""
    held: list[str] = []
    length = 0
    for text in texts:
        held.append(text)
        length += len(text)
        if length > 16 * size:
            yield "".join(held)
            held, length = [], 0
    yield "".join(held)


def _piece_length(text: str, document_bytes: int) -> int:
    """How many characters of `text`, which is longer than a document, become the next piece."""
    window = text.encode()[:document_bytes].decode("utf-8", "ignore")
    earliest = int(len(window) * _SHORTEST)
    for pattern in _BREAKS:
        ends = [found.end() for found in pattern.finditer(window, earliest)]
        if ends:
            return ends[-1]
    return max(len(window), 1)


def _trimmed(piece: str) -> Iterator[str]:
    piece = _BLANK_LINES_FIRST.sub("", piece).rstrip()
    if piece:
        yield piece
