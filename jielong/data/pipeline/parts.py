"""Parts: the shares of the input, fixed by the data, that tasks read and write."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from jielong.core.errors import DataError, RunDirectoryError
from jielong.core.files import write_atomic
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
    sizes: tuple[int, ...] = ()  # bytes of each file when the run was planned


def group_files(source: str, files: Iterable[InputFile]) -> list[Part]:
    """Parts of neighbouring files, each of about `PART_BYTES`."""
    parts: list[Part] = []
    held: list[InputFile] = []
    sizes: list[int] = []
    for file in files:
        size = _size(file.path)
        if held and sum(sizes) + size > PART_BYTES:
            parts.append(Part(source=source, files=tuple(held), sizes=tuple(sizes)))
            held, sizes = [], []
        held.append(file)
        sizes.append(size)
    if held:
        parts.append(Part(source=source, files=tuple(held), sizes=tuple(sizes)))
    return parts


def _size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder that is one data set."""
    if path.is_dir():
        return sum(inner.stat().st_size for inner in path.rglob("*") if inner.is_file())
    return path.stat().st_size


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
