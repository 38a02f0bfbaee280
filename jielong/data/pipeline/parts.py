"""Parts: the shares of the input, fixed by the data, that tasks read and write."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from jielong.core.errors import DataError, RunDirectoryError
from jielong.core.files import atomic_writer, canonical_json, write_atomic
from jielong.data.documents import Document

PART_BYTES = 8_000_000
"""Small files share a part of about this size; a large file is a part of its own."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one task reads: members of one source's archive, or some of the user's files."""

    source: str
    inputs: tuple[str, ...]
    """Members of the archive, or paths of files."""
    sizes: tuple[int, ...] = ()
    """Bytes of each file when the run was planned."""


def group_files(source: str, files: Iterable[tuple[str, int]]) -> list[Part]:
    """Parts of neighbouring files (path, bytes), each of about `PART_BYTES`."""
    parts: list[Part] = []
    held: list[tuple[str, int]] = []
    for path, size in files:
        if held and sum(bytes_ for _, bytes_ in held) + size > PART_BYTES:
            parts.append(_part(source, held))
            held = []
        held.append((path, size))
    return [*parts, _part(source, held)] if held else parts


def _part(source: str, files: Sequence[tuple[str, int]]) -> Part:
    paths, sizes = zip(*files, strict=True)
    return Part(source=source, inputs=paths, sizes=sizes)


def fix(path: Path, parts: Sequence[Part]) -> None:
    """Write the plan of a run, or, on resuming, hold the input to the plan that is there.

    Raises `RunDirectoryError` when the input has changed since the run started.
    """
    text = "".join(canonical_json(asdict(part)) + "\n" for part in parts)
    if not path.exists():
        write_atomic(path, text)
    elif path.read_text(encoding="utf-8") != text:
        raise RunDirectoryError(
            f"{path}: the files to read have changed since this run started: restore them, or "
            "start anew in another run_dir"
        )


def write_documents(path: Path, documents: Iterable[Document]) -> None:
    """One JSON object a line, whole or not at all."""
    with atomic_writer(path) as file:
        for document in documents:
            file.write(canonical_json(asdict(document)).encode() + b"\n")


def read_documents(path: Path) -> Iterator[Document]:
    """What `write_documents` wrote, one at a time."""
    with path.open("rb") as file:
        for line in file:
            yield parse(line, path)


def parse(line: bytes, path: Path) -> Document:
    """One line as a document; raises `DataError` when it is none."""
    try:
        return Document(**json.loads(line))
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: damaged ({error}): start anew in another run_dir") from None
