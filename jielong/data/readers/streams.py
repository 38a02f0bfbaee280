"""The bytes of a file, unpacked, as far as they can be read."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from jielong.core.optional import load
from jielong.data.decoding import ByteStream, Fault
from jielong.data.readers.find import InputFile

_BUFFER_BYTES = 1 << 16


@contextmanager
def open_bytes(file: InputFile, faults: list[Fault]) -> Iterator[ByteStream]:
    """The unpacked bytes; where they break off, the stream ends and `faults` says why."""
    with (
        closing(_unpacked(file)) as raw,
        io.BufferedReader(_Careful(raw, faults), _BUFFER_BYTES) as stream,
    ):
        yield stream


def _unpacked(file: InputFile) -> Any:  # noqa: ANN401 - three kinds of binary file
    if file.compression == ".gz":
        return gzip.open(file.path, "rb")
    if file.compression == ".zst":
        # Not the library `zstandard`: it takes a file that was cut off for one that has ended.
        arrow = load("pyarrow", "reading .zst")
        return arrow.CompressedInputStream(arrow.OSFile(str(file.path)), "zstd")
    return file.path.open("rb")


class _Careful(io.RawIOBase):
    """A stream that ends where its source fails, so that what came before is not lost."""

    def __init__(self, raw: ByteStream, faults: list[Fault]) -> None:
        self._raw = raw
        self._faults = faults
        self._position = 0
        self._has_failed = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - whatever can be written to
        view = memoryview(buffer)
        if self._has_failed:
            return 0
        try:
            data = self._raw.read(len(view))
        except (OSError, EOFError, zlib.error) as error:
            self._faults.append(Fault(self._position, f"cannot be read on ({reason(error)})"))
            self._has_failed = True
            return 0
        view[: len(data)] = data
        self._position += len(data)
        return len(data)


def reason(error: BaseException) -> str:
    """What an error says, in one line."""
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(said.split())
