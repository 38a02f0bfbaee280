"""Keys and who holds each, in files: equal keys meet range by range, so that memory stays flat.

The keys are digests. They lie evenly over 64 bits, so ranges of one width hold about as many.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from jielong.core.files import atomic_writer

_ENTRY = np.dtype([("key", np.uint64), ("holder", np.uint64)])
_RUN = 2**17  # entries that are sorted together
_RANGE = 2**18  # entries, about, that are read together


class Batch(NamedTuple):
    """N entries: their keys, the number of the file that each is from, and their holders."""

    keys: np.ndarray
    files: np.ndarray
    holders: np.ndarray


class EntryWriter:
    """Takes entries in any order; writes them in runs that are sorted by key."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._held: list[np.ndarray] = []
        self._count = 0

    def add(self, keys: np.ndarray | Sequence[int], holders: np.ndarray | int) -> None:
        """Each of `keys` has the holder at its place, or all have the same one."""
        entries = np.empty(len(keys), dtype=_ENTRY)
        entries["key"], entries["holder"] = keys, holders
        self._held.append(entries)
        self._count += len(entries)
        if self._count >= _RUN:
            entries = np.concatenate(self._held)
            whole = len(entries) // _RUN * _RUN
            self._write(entries[:whole])
            self._held, self._count = [entries[whole:].copy()], len(entries) - whole

    def finish(self) -> None:
        """Write the last run, which may be shorter."""
        self._write(np.concatenate([np.empty(0, dtype=_ENTRY), *self._held]))
        self._held, self._count = [], 0

    def _write(self, entries: np.ndarray) -> None:
        for start in range(0, len(entries), _RUN):
            run = entries[start : start + _RUN]
            self._file.write(run[np.argsort(run["key"], kind="stable")].tobytes())


@contextmanager
def entry_writer(path: Path) -> Iterator[EntryWriter]:
    """A file of entries, which appears when the block ends without an error."""
    with atomic_writer(path) as file:
        writer = EntryWriter(file)
        yield writer
        writer.finish()


def by_range(paths: Sequence[Path]) -> Iterator[Batch]:
    """All entries of these files, in batches: those of one key are in one batch."""
    total = sum(path.stat().st_size for path in paths) // _ENTRY.itemsize
    count = total // _RANGE + 1
    for low, high in pairwise(2**64 * number // count for number in range(count + 1)):
        found = [_between(path, low, high - 1) for path in paths]
        files = np.repeat(np.arange(len(found)), [len(entries) for entries in found])
        entries = np.concatenate([np.empty(0, dtype=_ENTRY), *found])
        yield Batch(entries["key"], files, entries["holder"])


def _between(path: Path, low: int, high: int) -> np.ndarray:
    """The entries with a key from `low` to `high`, copied: what stays mapped stays open."""
    if not path.stat().st_size:  # an empty file cannot be mapped
        return np.empty(0, dtype=_ENTRY)
    entries = np.memmap(path, dtype=_ENTRY, mode="r")
    found = []
    for start in range(0, len(entries), _RUN):
        run = entries[start : start + _RUN]
        first = np.searchsorted(run["key"], np.uint64(low), side="left")
        last = np.searchsorted(run["key"], np.uint64(high), side="right")
        found.append(np.array(run[first:last]))
    return np.concatenate(found)
