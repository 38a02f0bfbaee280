"""Where documents lie, and how they are read there with few files open."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

_OPEN = 32  # files at a time: systems allow some hundreds, and a corpus may have thousands of parts


class Place(NamedTuple):
    """Where a document lies: the byte `offset` of its line in the file of `part`."""

    part: int
    offset: int


@dataclass(frozen=True)
class Places:
    """N places, in 12 bytes each."""

    parts: np.ndarray  # (N,) uint32
    offsets: np.ndarray  # (N,) uint64

    def __len__(self) -> int:
        return len(self.parts)

    def __iter__(self) -> Iterator[Place]:
        for part, offset in zip(self.parts, self.offsets, strict=True):
            yield Place(int(part), int(offset))

    def at(self, numbers: np.ndarray) -> "Places":
        """Some of them: `numbers` count through these, or say of each whether it is wanted."""
        return Places(self.parts[numbers], self.offsets[numbers])


def lines_at(paths: Sequence[Path], places: Iterable[Place]) -> Iterator[tuple[bytes, Path]]:
    """The line at each place, and its file; `paths` are the files of all parts."""
    files: OrderedDict[int, IO[bytes]] = OrderedDict()
    with ExitStack() as stack:
        stack.callback(lambda: [file.close() for file in files.values()])
        for part, offset in places:
            if part not in files:
                if len(files) == _OPEN:
                    files.popitem(last=False)[1].close()
                files[part] = paths[part].open("rb")
            files.move_to_end(part)
            files[part].seek(offset)
            yield files[part].readline(), paths[part]
