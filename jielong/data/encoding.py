"""Bytes of unknown encoding to text, line by line, so that no file is too large.

UTF-8 proves itself: text in another encoding is hardly ever valid UTF-8. The others prove nothing,
because almost any bytes are valid GB18030, so they are judged by what they would say: the share of
common characters among those that are not ASCII. No table of frequencies is needed for that, since
GB 2312 and Big5 both put the common characters into a level of their own.
"""

import codecs
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any, Protocol, runtime_checkable

_BOMS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_NARROW = ("utf-8", "gb18030", "cp950")
_WIDE = ("utf-16-le", "utf-16-be")
_LEAST_PLAUSIBLE = 0.7
_SAMPLE_BYTES = 1 << 16
_PIECE_BYTES = 1 << 16  # a longer line is handed on in pieces; an even number, for UTF-16
_TOO_LONG = "\0"  # which no text holds
_MOST_FAULTS = 20  # a file with more unreadable lines than this is not read further
_PRINTABLE_ASCII = re.compile(r"[\t\n\r\x20-\x7e]+")
_PUNCTUATION = "\u3000、。〈〉《》「」『』【】…—·‘’“”" + "".join(map(chr, range(0xFF01, 0xFF5F)))


@runtime_checkable
class ByteStream(Protocol):
    """Whatever bytes can be read from."""

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes, and none only at the end."""
        ...


@dataclass(frozen=True)
class Fault:
    """Where input could not be read, in bytes (or records, where a format has those), and why."""

    offset: int
    reason: str


class UndecodableError(ValueError):
    """Bytes that are no text in any encoding known here; `fault` says where."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(f"byte {fault.offset}: {fault.reason}")
        self.fault = fault


@cache
def common_characters() -> frozenset[str]:
    """The Han characters of GB 2312 level 1 and Big5 level 1, and Chinese punctuation."""
    low, high = range(0x40, 0x7F), range(0xA1, 0xFF)
    planes = [("gb2312", range(0xB0, 0xD8), [*high]), ("big5", range(0xA4, 0xC7), [*low, *high])]
    characters = {
        bytes((lead, trail)).decode(codec, "ignore")
        for codec, leads, trails in planes
        for lead in leads
        for trail in trails
    }
    return frozenset(characters - {""}).union(_PUNCTUATION)


def common_share(text: str) -> float:
    """The share of common characters among those of `text` that are not ASCII (1 without any)."""
    rest = _PRINTABLE_ASCII.sub("", text)
    return _common(rest) / len(rest) if rest else 1.0


def detect(sample: bytes) -> str | None:
    """The codec of a text that begins with `sample`, or None where none makes sense of it.

    The sample may end inside a character. Zero bytes stand in no text but UTF-16.
    """
    for mark, codec in _BOMS.items():
        if sample.startswith(mark):
            return codec
    if b"\0" not in sample and _is_utf8(sample):
        return "utf-8"
    candidates = _WIDE if b"\0" in sample else _NARROW + _WIDE
    plausible = {codec: _plausibility(sample, codec) for codec in candidates}
    best = max(candidates, key=plausible.__getitem__)
    if plausible[best] >= _LEAST_PLAUSIBLE:
        return best
    return "utf-8" if _is_mostly_utf8(sample) else None


def decode(data: bytes, encoding: str = "auto") -> str:
    """All of `data` as text; raises `UndecodableError` at the first byte that is none."""
    faults: list[Fault] = []
    text = "".join(texts(io.BytesIO(data), encoding, faults))
    if faults:
        raise UndecodableError(faults[0])
    return text


def texts(stream: ByteStream, encoding: str, faults: list[Fault]) -> Iterator[str]:
    """The text of `stream`, a line or a piece of a long line at a time, every line end a newline.

    `encoding` is a codec or "auto". What cannot be decoded is added to `faults`; the rest of that
    line is left out.
    """
    newlines = io.IncrementalNewlineDecoder(None, translate=True)
    for piece in _decoded(stream, encoding, faults):
        yield newlines.decode(piece.text)
    yield newlines.decode("", final=True)


def lines(
    stream: ByteStream, encoding: str, faults: list[Fault], most_bytes: int
) -> Iterator[tuple[int, str]]:
    """(offset in bytes, line with its end) of every line that is no longer than `most_bytes`."""
    held: list[str] = []
    start = 0
    for piece in _decoded(stream, encoding, faults):
        if not held:
            start = piece.offset
        if piece.end - start <= most_bytes:
            held.append(piece.text)
        elif held != [_TOO_LONG]:
            faults.append(Fault(start, f"a line of more than {most_bytes:,} bytes"))
            held = [_TOO_LONG]
        if piece.is_line_end:
            if held != [_TOO_LONG]:
                yield start, "".join(held)
            held = []


@dataclass(frozen=True)
class _Piece:
    """A line, or a piece of a long one, and where it lies in the file."""

    offset: int
    end: int
    text: str
    is_line_end: bool


def _decoded(stream: ByteStream, encoding: str, faults: list[Fault]) -> Iterator[_Piece]:
    """The lines of a stream; of one that cannot be decoded, what came before in other pieces."""
    head = _read(stream, _SAMPLE_BYTES)
    settled = detect(head) if encoding == "auto" else _named(encoding, head)
    if settled is None and b"\0" in head:
        faults.append(Fault(head.index(b"\0"), "a zero byte, so this is no text"))
        return
    if encoding == "auto" and settled not in _WIDE:
        settled = None  # until there are lines to judge by that are not ASCII
    newline = "\n".encode(settled or "utf-8")
    pieces = _pieces(io.BufferedReader(_Joined(head, stream), _SAMPLE_BYTES), newline)
    decoder: codecs.IncrementalDecoder | None = None  # in the middle of a long line
    skipping, faulty = False, 0
    for offset, piece, codec in _with_codec(pieces, settled, faults):
        is_end = piece.endswith(newline) or len(piece) < _PIECE_BYTES
        if skipping:
            skipping = not is_end
            continue
        if decoder is None and not is_end:
            decoder = codecs.getincrementaldecoder(codec)()
        try:
            text = _decode(piece, codec, decoder, is_end=is_end)
        except UnicodeDecodeError as error:
            start = offset + error.start - (len(error.object) - len(piece))
            faults.append(Fault(start, f"not {codec} ({error.reason})"))
            faulty += 1
            text, skipping, decoder = "\n", not is_end, None
        if faulty == _MOST_FAULTS:
            faults.append(Fault(offset + len(piece), "too many unreadable lines: read no further"))
            return
        text = text if offset else text.removeprefix("\ufeff")
        yield _Piece(offset, offset + len(piece), text, is_end or skipping)
        if is_end:
            decoder = None


def _decode(
    piece: bytes, codec: str, decoder: codecs.IncrementalDecoder | None, *, is_end: bool
) -> str:
    text = decoder.decode(piece, is_end) if decoder else piece.decode(codec)
    if "\0" in text:
        start = len(text[: text.index("\0")].encode(codec))
        raise UnicodeDecodeError(codec, piece, start, start + 1, "a zero byte")
    return text


def _named(encoding: str, head: bytes) -> str:
    """The codec of that name, in the byte order that the text begins with."""
    codec = codecs.lookup(encoding).name
    if codec == "utf-16":
        return "utf-16-be" if head.startswith(codecs.BOM_UTF16_BE) else "utf-16-le"
    return codec


def _with_codec(
    pieces: Iterator[tuple[int, bytes]], codec: str | None, faults: list[Fault]
) -> Iterator[tuple[int, bytes, str]]:
    """Each piece with its codec, which is judged by the first lines that are not ASCII."""
    if codec is None:
        held: list[tuple[int, bytes]] = []
        held_bytes = 0
        for offset, piece in pieces:
            if not held and piece.isascii():
                yield offset, piece, "utf-8"
                continue
            held.append((offset, piece))
            held_bytes += len(piece)
            if held_bytes >= _SAMPLE_BYTES:
                break
        if not held:
            return
        codec = detect(b"".join(piece for _, piece in held))
        if codec is None or codec in _WIDE:
            offset, piece = held[0]
            start = next(place for place, byte in enumerate(piece) if byte > 0x7F)
            faults.append(Fault(offset + start, "neither UTF-8, UTF-16, GB18030 nor Big5"))
            return
        pieces = chain(held, pieces)
    for offset, piece in pieces:
        yield offset, piece, codec


def _pieces(stream: io.BufferedReader, newline: bytes) -> Iterator[tuple[int, bytes]]:
    """(offset, bytes) of each line or, of a long one, of each piece."""
    offset = 0
    while True:
        if len(newline) == 1:
            piece = stream.readline(_PIECE_BYTES)
        else:
            piece = _read_wide_line(stream, newline)
        if not piece:
            return
        yield offset, piece
        offset += len(piece)


def _read_wide_line(stream: io.BufferedReader, newline: bytes) -> bytes:
    """A line of two-byte characters: the byte 0x0A may be half of another one."""
    line = bytearray()
    while len(line) < _PIECE_BYTES and not line.endswith(newline):
        part = stream.readline(_PIECE_BYTES - len(line))
        line += part
        if len(line) % 2:
            line += stream.read(1)
        if not part or len(line) % 2:
            break
    return bytes(line)


def _read(stream: ByteStream, size: int) -> bytes:
    """`size` bytes, or all there are: a stream may give fewer than it is asked for."""
    parts = []
    while size and (part := stream.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


class _Joined(io.RawIOBase):
    """Bytes that were read to look at them, then the stream that they came from."""

    def __init__(self, head: bytes, rest: ByteStream) -> None:
        self._parts = [io.BytesIO(head), rest]

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - whatever can be written to
        view = memoryview(buffer)
        for part in self._parts:
            if data := part.read(len(view)):
                view[: len(data)] = data
                return len(data)
        return 0


def _is_utf8(sample: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        return False
    return True


def _is_mostly_utf8(sample: bytes) -> bool:
    """Whether most lines are UTF-8 or ASCII: damage, or signs of another system here and there."""
    held = [line for line in sample.split(b"\n") if line.strip()]
    good = [line for line in held if b"\0" not in line and _is_utf8(line)]
    return 2 * len(good) >= len(held) > 0


def _plausibility(sample: bytes, codec: str) -> float:
    """From 0 to 1: how much of the sample, so decoded, is what a writer may have meant.

    UTF-8 that is damaged here and there still proves itself by all the rest. In UTF-16 the ASCII
    characters count too: another encoding would not show them.
    """
    if codec not in _WIDE:
        rest = _PRINTABLE_ASCII.sub("", sample.decode(codec, "replace"))
        if not rest:
            return 0.0
        return (
            1 - rest.count("\ufffd") / len(rest) if codec == "utf-8" else _common(rest) / len(rest)
        )
    text = sample[: len(sample) // 2 * 2].decode(codec, "replace")
    rest = _PRINTABLE_ASCII.sub("", text)
    return (len(text) - len(rest) + _common(rest)) / len(text) if text else 0.0


def _common(text: str) -> int:
    return sum(map(common_characters().__contains__, text))
