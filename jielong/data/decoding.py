"""Bytes to text, line by line, so that no file is too large, and none is lost for a bad line."""

import codecs
import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple, Protocol, runtime_checkable

from jielong.data.encoding import SAMPLE_BYTES, WIDE, detect

_PIECE_BYTES = 1 << 16  # a longer line is handed on in pieces; an even number, for UTF-16
_MOST_TOLD = 20  # unreadable lines of a file; those after them are counted
_FEWEST_BAD = 1000  # lines: with fewer that are unreadable, no file is given up


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
        if not piece.is_damaged:
            yield newlines.decode(piece.text)
        elif piece.is_line_end:
            yield newlines.decode("\n")
    yield newlines.decode("", final=True)


class Line(NamedTuple):
    """One line of a file with its end, or what is known of one that was left out."""

    offset: int  # in bytes
    end: int
    text: str  # of a line that was left out: a quotation mark if it held an odd number of them
    is_left_out: bool


def lines(
    stream: ByteStream, encoding: str, faults: list[Fault], most_bytes: int
) -> Iterator[Line]:
    """Every line; left out are those longer than `most_bytes` and those that cannot be decoded."""
    held: list[str] = []
    start, quotes, is_left_out = 0, 0, False
    for piece in _decoded(stream, encoding, faults):
        is_left_out = is_left_out or piece.is_damaged
        if not is_left_out and piece.end - start > most_bytes:
            faults.append(Fault(start, f"a line of more than {most_bytes:,} bytes"))
            is_left_out = True
        held.append(piece.text)
        if is_left_out:
            quotes += sum(text.count('"') for text in held)
            held.clear()
        if piece.is_line_end:
            text = '"' * (quotes % 2) if is_left_out else "".join(held)
            yield Line(start, piece.end, text, is_left_out)
            held, start, quotes, is_left_out = [], piece.end, 0, False


class _Raw(NamedTuple):
    """A line, or a piece of a long one, and where it lies in the file."""

    offset: int
    data: bytes
    is_line_end: bool


class _Piece(NamedTuple):
    """The same as text; of one in a damaged line, only the quotation marks."""

    end: int
    text: str
    is_line_end: bool
    is_damaged: bool


class _Damage:
    """The unreadable lines of a file: the first are told, the others counted."""

    def __init__(self, faults: list[Fault]) -> None:
        self._faults = faults
        self._bad = 0
        self._lines = 0  # since the first bad one, which is among them
        self._untold = 0  # where the first that is not told begins

    def add(self, fault: Fault) -> None:
        self._bad += 1
        if self._bad <= _MOST_TOLD:
            self._faults.append(fault)
        elif self._bad == _MOST_TOLD + 1:
            self._untold = fault.offset

    def prevails(self) -> bool:
        """Whether, now that a line has ended, there is too little left to read on for."""
        self._lines += self._bad > 0
        return self._bad >= _FEWEST_BAD and 2 * self._bad > self._lines

    def tell_rest(self) -> None:
        if self._bad > _MOST_TOLD:
            more = self._bad - _MOST_TOLD
            self._faults.append(Fault(self._untold, f"{more:,} more unreadable lines"))


def _decoded(stream: ByteStream, encoding: str, faults: list[Fault]) -> Iterator[_Piece]:
    """The lines of a stream, the long ones in pieces."""
    head = _read(stream, SAMPLE_BYTES)
    settled = detect(head) if encoding == "auto" else _named(encoding, head)
    if settled is None and b"\0" in head:
        faults.append(Fault(head.index(b"\0"), "a zero byte, so this is no text"))
        return
    if encoding == "auto" and settled not in WIDE:
        settled = None  # until there are lines to judge by that are not ASCII
    newline = "\n".encode(settled or "utf-8")
    pieces = _pieces(io.BufferedReader(_Joined(head, stream), SAMPLE_BYTES), newline)
    damage, line, is_damaged = _Damage(faults), _LineDecoder(), False
    for (offset, data, is_line_end), codec in _with_codec(pieces, settled, faults):
        try:
            text = "" if is_damaged else line.decode(data, codec, is_end=is_line_end)
        except UnicodeDecodeError as error:
            start = offset + error.start - (len(error.object) - len(data))
            damage.add(Fault(start, f"not {codec} ({error.reason})"))
            text, line, is_damaged = "", _LineDecoder(), True
        if is_damaged:
            text = '"' * data.decode(codec, "replace").count('"')
        elif not offset:
            text = text.removeprefix("\ufeff")
        yield _Piece(offset + len(data), text, is_line_end, is_damaged)
        if is_line_end:
            is_damaged = False
            if damage.prevails():
                reason = "most lines since the first unreadable one are: read no further"
                faults.append(Fault(offset + len(data), reason))
                break
    damage.tell_rest()


class _LineDecoder:
    """Decodes lines that may come in pieces; the codec may change after pieces of ASCII."""

    def __init__(self) -> None:
        self._codec = ""
        self._decoder: codecs.IncrementalDecoder | None = None

    def decode(self, piece: bytes, codec: str, *, is_end: bool) -> str:
        if codec != self._codec and (self._decoder or not is_end):
            self._codec, self._decoder = codec, codecs.getincrementaldecoder(codec)()
        text = self._decoder.decode(piece, is_end) if self._decoder else piece.decode(codec)
        if is_end:
            self._codec, self._decoder = "", None
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
    pieces: Iterator[_Raw], codec: str | None, faults: list[Fault]
) -> Iterator[tuple[_Raw, str]]:
    """Each piece with its codec, which is judged by the first lines that are not ASCII."""
    if codec is None:
        held: list[_Raw] = []
        held_bytes = 0
        for piece in pieces:
            if not held and piece.data.isascii():
                yield piece, "utf-8"
                continue
            held.append(piece)
            held_bytes += len(piece.data)
            if held_bytes >= SAMPLE_BYTES:
                break
        if not held:
            return
        codec = detect(b"".join(piece.data for piece in held))
        if codec is None or codec in WIDE:
            offset, data, _ = held[0]
            start = next(place for place, byte in enumerate(data) if byte > 0x7F)
            faults.append(Fault(offset + start, "neither UTF-8, UTF-16, GB18030 nor Big5"))
            return
        pieces = chain(held, pieces)
    for piece in pieces:
        yield piece, codec


def _pieces(stream: io.BufferedReader, newline: bytes) -> Iterator[_Raw]:
    """Each line or, of a long one, each piece."""
    offset = 0
    while True:
        if len(newline) == 1:
            data = stream.readline(_PIECE_BYTES)
        else:
            data = _read_wide_line(stream, newline)
        if not data:
            return
        yield _Raw(offset, data, data.endswith(newline) or not stream.peek(1))
        offset += len(data)


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
