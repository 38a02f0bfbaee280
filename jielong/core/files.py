"""Files that are whole or absent: written under a temporary name, synced, then renamed."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from jielong.core.errors import StorageError

_TEMPORARY = re.compile(r"\..+\.[0-9]+\.tmp")


@contextmanager
def atomic_writer(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that appears at `path` only when the block ends without an error.

    Raises `StorageError` when the disk is full or refuses the write; `path` is then as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise _refused(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write all of `data` (text as UTF-8) to `path`, or leave `path` as it was."""
    with atomic_writer(path) as file:
        file.write(data.encode() if isinstance(data, str) else data)


@contextmanager
def removing(folder: Path) -> Iterator[None]:
    """Take a folder out of sight, delete it when the block has ended.

    A folder of which a kill leaves one half would look like a whole one; this one is there or not.
    """
    trash = folder.with_name(f".{folder.name}-done")
    shutil.rmtree(trash, ignore_errors=True)
    folder.rename(trash)
    yield
    shutil.rmtree(trash)


def is_unfinished(path: Path) -> bool:
    """Whether a file has a name that `atomic_writer` gives to what is not whole yet."""
    return _TEMPORARY.fullmatch(path.name) is not None


def remove_unfinished(folder: Path) -> None:
    """Delete the temporary files that a killed run left in `folder` and below."""
    for path in folder.rglob(".*.tmp"):
        if is_unfinished(path):
            with suppress(OSError):
                path.unlink()


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to write in, which appears at `path` only when the block ends without an error.

    `path` must not exist, or be empty. Raises `StorageError` when the disk refuses a write.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        for file in temporary.iterdir():
            sync_directory(file)
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise _refused(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def append_line(path: Path, line: str) -> None:
    """Add one line to a log. A kill may cut it: readers must expect half a line at the end."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    except OSError as error:
        raise _refused(path, error) from error


def sync_directory(path: Path) -> None:
    """Make a rename inside `path` survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def canonical_json(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """JSON with sorted keys and no spaces, so that equal values give equal bytes."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def sha256_json(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """The SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def _refused(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{path}: cannot be written ({error.strerror or error}): free some space or choose "
        "another directory, then run the same command with --resume"
    )
