"""The allowed members of a fetched archive, read in memory: nothing is unpacked, nothing is run.

A wheel is a zip file, a source distribution and an npm package are tar files, and a Debian package
is an `ar` file around a tar file. Members come one at a time, in the order of the archive.
"""

import io
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from jielong.core.errors import DataError
from jielong.data.sources import Kind, Part, Source

_AR_MAGIC = b"!<arch>\n"
_AR_HEADER_BYTES = 60
_BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    LZMAError,
    EOFError,
    OSError,
    ValueError,
)


class Member(NamedTuple):
    """One file of an archive."""

    name: str
    data: bytes


class _Entry(NamedTuple):
    name: str
    is_file: bool
    open: Callable[[], IO[bytes] | None]


def read(source: Source, path: Path, part: Part) -> Iterator[Member]:
    """The members of `part` in the archive at `path`.

    Raises `DataError` when the archive is broken, when a member is a link or too large, and, at the
    end, when there were not as many members as the table says.
    """
    assert source.archive is not None
    allowed, limit, found = _pattern(part.paths), int(part.max_mb * 1e6), 0
    entries = _entries(source.archive.kind, path)
    while (entry := _next(source, path, entries)) is not None:
        if not allowed.fullmatch(entry.name):
            continue
        if not entry.is_file or ".." in PurePosixPath(entry.name).parts:
            raise DataError(f"source {source.id!r}: {entry.name} is a link or no file: refused")
        yield Member(entry.name, _read(source, path, entry, limit))
        found += 1
    if found != part.files:
        raise DataError(
            f"source {source.id!r}: {path} has {found} member(s) {' and '.join(part.paths)}, and "
            f"the table says {part.files}: correct the pin"
        )


def _next(source: Source, path: Path, entries: Iterator[_Entry]) -> _Entry | None:
    try:
        return next(entries, None)
    except _BROKEN as error:
        raise _broken(source, path, error) from None


def _read(source: Source, path: Path, entry: _Entry, limit: int) -> bytes:
    try:
        file = entry.open()
        assert file is not None, "only links and folders have no content"
        with file:
            data = file.read(limit + 1)
    except _BROKEN as error:
        raise _broken(source, path, error) from None
    if len(data) > limit:
        raise DataError(
            f"source {source.id!r}: {entry.name} is larger than {limit:,} bytes: refused"
        )
    return data


def _broken(source: Source, path: Path, error: Exception) -> DataError:
    return DataError(f"source {source.id!r}: {path}: not a whole archive ({error}): delete it")


def _pattern(paths: Iterable[str]) -> re.Pattern[str]:
    """What `**/` and `*` stand for; all else stands for itself."""
    wild = {"**/": "(?:[^/]+/)*", "*": "[^/]*"}
    pieces = (re.split(r"(\*\*/|\*)", path) for path in paths)
    return re.compile("|".join("".join(wild.get(p) or re.escape(p) for p in ps) for ps in pieces))


def _entries(kind: Kind, path: Path) -> Iterator[_Entry]:
    if kind == "wheel":
        yield from _zip_entries(path)
    elif kind == "deb":
        yield from _tar_entries(io.BytesIO(_deb_data(path)))
    else:
        yield from _tar_entries(path.open("rb"))


def _zip_entries(path: Path) -> Iterator[_Entry]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            mode = stat.S_IFMT(info.external_attr >> 16)  # 0: written where there are no modes
            is_file = mode in (0, stat.S_IFREG) and not info.is_dir()
            yield _Entry(info.filename, is_file, lambda info=info: archive.open(info))


def _tar_entries(file: io.BufferedIOBase) -> Iterator[_Entry]:
    """A stream: an entry must be read before the next one is asked for."""
    with file, tarfile.open(fileobj=file, mode="r|*") as archive:
        for info in archive:
            name = info.name.removeprefix("./")
            yield _Entry(name, info.isreg(), lambda info=info: archive.extractfile(info))


def _deb_data(path: Path) -> bytes:
    """The tar file with the content of a Debian package, as compressed as it is."""
    with path.open("rb") as file:
        if file.read(len(_AR_MAGIC)) != _AR_MAGIC:
            raise tarfile.ReadError("no Debian package")
        while len(header := file.read(_AR_HEADER_BYTES)) == _AR_HEADER_BYTES:
            name, size = header[:16], int(header[48:58])
            if name.startswith(b"data.tar") and len(data := file.read(size)) == size:
                return data
            file.seek(size + size % 2, io.SEEK_CUR)  # members start at even places
    raise tarfile.ReadError("no whole data.tar in the Debian package")
