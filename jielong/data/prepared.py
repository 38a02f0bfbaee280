"""A finished prepare run, read as a stream: its documents may well be larger than the memory."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jielong.core.errors import DataError
from jielong.core.run_dir import MANIFEST, RunDir, open_finished

SIDES = ("train", "valid")
"""What is trained on, and what is held out."""
DOCUMENT_KEYS = ("id", "text", "lang", "source")


@dataclass(frozen=True)
class Line:
    """One record of a JSONL file, and where it stands."""

    number: int  # from 1
    offset: int  # bytes before it
    end: int  # bytes up to the next line
    record: dict[str, Any]


def open_prepared(directory: Path) -> RunDir:
    """The finished prepare run that a directory is, or that a quickstart's directory holds.

    Raises `RunDirectoryError` when there is none.
    """
    inner = directory / "prepare"
    return open_finished(inner if (inner / MANIFEST).exists() else directory, "prepare")


def document_files(run: RunDir) -> list[Path]:
    """The files of documents: what is trained on first, then what is held out."""
    files = sorted((run.path / "documents").glob("*.jsonl"))
    if not files:
        raise DataError(f"{run.path / 'documents'}: holds no .jsonl file: run prepare anew")
    return files


def read_lines(path: Path, keys: tuple[str, ...] = (), offset: int = 0) -> Iterator[Line]:
    """Each record of a file of the run, from a line's offset on, with text under each of `keys`.

    Raises `DataError` naming file and line (counted from `offset`) when one is damaged.
    """
    with path.open("rb") as file:
        file.seek(offset)
        for number, line in enumerate(file, 1):
            try:
                record = json.loads(line)
                faulty = next((key for key in keys if not isinstance(record[key], str)), None)
            except (ValueError, TypeError, LookupError, RecursionError) as error:
                raise _damaged(path, number, error) from None
            if faulty:
                raise _damaged(path, number, f"{faulty} is no text")
            yield Line(number, offset, offset + len(line), record)
            offset += len(line)


def _damaged(path: Path, number: int, reason: object) -> DataError:
    return DataError(f"{path}:{number}: damaged ({reason}): run prepare anew")
