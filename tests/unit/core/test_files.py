import errno
import hashlib
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jielong.core.errors import StorageError
from jielong.core.files import (
    atomic_writer,
    canonical_json,
    sha256_file,
    sha256_json,
    write_atomic,
)


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """The system itself refuses to let a file grow beyond `size` bytes, as a full disk would."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, previous)


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_text_and_bytes_are_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file"
    write_atomic(path, "接龙\n")
    assert path.read_bytes() == b"\xe6\x8e\xa5\xe9\xbe\x99\n"
    write_atomic(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert names(path.parent) == ["file"]


def test_whoever_reads_the_old_file_goes_on_reading_it(tmp_path: Path) -> None:
    """The new file takes the old one's name; it is never written over it."""
    path = tmp_path / "file"
    write_atomic(path, b"old")
    with path.open("rb") as reader:
        write_atomic(path, b"new and longer")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new and longer"


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")
    with no_file_beyond(4096), pytest.raises(StorageError) as caught:
        write_atomic(path, b"x" * 100_000)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]
    assert str(path) in str(caught.value)
    assert os.strerror(errno.EFBIG) in str(caught.value)
    assert "free some space" in str(caught.value)


def test_a_full_disk_leaves_no_new_file(tmp_path: Path) -> None:
    with no_file_beyond(4096), pytest.raises(StorageError):
        write_atomic(tmp_path / "file", b"x" * 100_000)
    assert names(tmp_path) == []


def break_off(path: Path) -> None:
    with atomic_writer(path) as file:
        file.write(b"half")
        file.flush()
        assert path.read_bytes() == b"old"  # nothing shows before the end
        raise ZeroDivisionError


def test_an_error_inside_the_block_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")
    with pytest.raises(ZeroDivisionError):
        break_off(path)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_path_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be written"):
        write_atomic(tmp_path / "file" / "child", b"")


def test_sha256_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")  # the digest is the standard's own example, FIPS 180-2
    assert sha256_file(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_canonical_json_ignores_the_order_of_keys() -> None:
    assert canonical_json({"b": [1, 2.5], "a": "字"}) == '{"a":"字","b":[1,2.5]}'
    assert sha256_json({"b": 1, "a": 2}) == sha256_json({"a": 2, "b": 1})
    assert sha256_json("x") == hashlib.sha256(b'"x"').hexdigest()
