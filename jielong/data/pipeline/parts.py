"""Parts: the shares of the input, fixed by the data, that tasks read and write."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from jielong.core.errors import DataError, RunDirectoryError
from jielong.core.files import atomic_writer, canonical_json, sha256_file, sha256_json, write_atomic
from jielong.data.documents import Document
from jielong.data.readers.find import InputFile

PART_BYTES = 8_000_000
"""Small files share a part of about this size; a large file is a part of its own."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one task reads: some members of one source's archive, or some of the user's files."""

    source: str
    members: int = 0  # which of the source's groups of members
    files: tuple[InputFile, ...] = ()
    stamps: tuple[tuple[int, int], ...] = ()  # of each file: bytes, last change (ns)
    version: str = ""  # of what has no file: the Python whose text is read


def group_files(source: str, files: Iterable[InputFile]) -> list[Part]:
    """Parts of neighbouring files, each of about `PART_BYTES`."""
    parts: list[Part] = []
    held: list[InputFile] = []
    stamps: list[tuple[int, int]] = []
    for file in files:
        stamp = _stamp(file.path)
        if held and sum(size for size, _ in stamps) + stamp[0] > PART_BYTES:
            parts.append(Part(source=source, files=tuple(held), stamps=tuple(stamps)))
            held, stamps = [], []
        held.append(file)
        stamps.append(stamp)
    if held:
        parts.append(Part(source=source, files=tuple(held), stamps=tuple(stamps)))
    return parts


def _stamp(path: Path) -> tuple[int, int]:
    """Bytes and last change of a file, or of all files in a folder that is one data set."""
    states = [inner.stat() for inner in _inner(path)]
    return sum(s.st_size for s in states), max((s.st_mtime_ns for s in states), default=0)


def _inner(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(inner for inner in path.rglob("*") if inner.is_file())


def write_hashes(parts: Iterable[Part], path: Path) -> None:
    """One line for each of the user's files: its name, its bytes, and what it was."""
    with atomic_writer(path) as output:
        for part in parts:
            for file, (size, _) in zip(part.files, part.stamps, strict=True):
                record = {"file": file.name, "bytes": size, "sha256": _hash(file.path)}
                output.write(f"{canonical_json(record)}\n".encode())


def _hash(path: Path) -> str | None:
    """Of one file, or of the list of a folder's hashes; None for what cannot be read."""
    try:
        hashes = [sha256_file(inner) for inner in _inner(path)]
    except OSError:
        return None
    return hashes[0] if len(hashes) == 1 else sha256_json(hashes)


def fix(path: Path, parts: Sequence[Part]) -> None:
    """Write the plan of a run, or, on resuming, hold the input to the plan that is there.

    Raises `RunDirectoryError` when the input has changed since the run started.
    """
    text = json.dumps([asdict(part) for part in parts], ensure_ascii=False, default=str, indent=1)
    plan = text.encode(errors="surrogateescape")  # as the names of files may be no text
    if not path.exists():
        write_atomic(path, plan)
    elif path.read_bytes() != plan:
        raise RunDirectoryError(
            f"{path}: the files to read have changed since this run started: restore them, or "
            "start anew in another run_dir"
        )


def read_documents(path: Path) -> Iterator[Document]:
    """The documents of a file with one JSON object a line, one at a time."""
    with path.open("rb") as file:
        for line in file:
            yield parse(line, path)


def parse(line: bytes, path: Path) -> Document:
    """One line as a document; raises `DataError` when it is none."""
    try:
        return Document(**json.loads(line))
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: damaged ({error}): start anew in another run_dir") from None
