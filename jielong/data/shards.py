"""Token shards: the packed corpus as one array of ids, and training windows cut from it.

Documents stand one after the other, each opened by `<bos>`; a window may span several. Nothing is
padded and nothing is dropped but the rest of an epoch that fills no window.
"""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.lib.format import dtype_to_descr, write_array_header_1_0

from jielong.core.errors import DataError
from jielong.core.files import atomic_writer
from jielong.core.seeds import generator


@dataclass(frozen=True)
class Shard:
    """`tokens` (N,) ids; `starts` (D,) where each document's `<bos>` stands; `languages` (D,);
    `text_bytes` (D,) the UTF-8 length of each document's text.

    On disk the ids are `NAME.npy`, which is mapped and not read, and the rest is `NAME.npz`."""

    tokens: np.ndarray
    starts: np.ndarray
    languages: np.ndarray
    text_bytes: np.ndarray

    @classmethod
    def pack(
        cls, documents: Iterable[Sequence[int]], bos: int, languages: list[str], sizes: list[int]
    ) -> "Shard":
        """Join documents' ids, each after a `<bos>`; the lists may grow while they are drawn."""
        ids, starts = array("I"), array("Q")
        for document in documents:
            starts.append(len(ids))
            ids.append(bos)
            ids.extend(document)
        tokens = np.frombuffer(ids, dtype=np.uint32)
        narrow = np.uint16 if tokens.max(initial=0) < 2**16 else np.uint32
        return cls(
            tokens.astype(narrow),
            np.array(starts, dtype=np.int64),
            np.array(languages, dtype=np.str_),
            np.array(sizes, dtype=np.int64),
        )

    def save(self, path: Path) -> None:
        """Write both files; `path` is that of the `.npz`, which appears last."""
        join([self], path)

    def save_taken(self, numbers: np.ndarray, path: Path) -> None:
        """Write a shard of the documents with these numbers in this order, some perhaps again."""
        ends = np.append(self.starts[1:], len(self.tokens))
        lengths = (ends - self.starts)[numbers]
        rest = (np.cumsum(lengths) - lengths, self.languages[numbers], self.text_bytes[numbers])
        pieces = (self.tokens[self.starts[n] : ends[n]] for n in numbers)
        _write(path, pieces, (int(lengths.sum()), self.tokens.dtype), *rest)

    @classmethod
    def load(cls, path: Path) -> "Shard":
        """Read what `save` wrote; raises `DataError` when the file is missing or damaged."""
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                index = {name: archive[name] for name in archive.files}
            tokens = np.load(path.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
            count = int(index.pop("count"))
            shard = cls(tokens, **index)
        except Exception as error:  # noqa: BLE001 - zipfile and NumPy raise many kinds
            raise DataError(f"{path}: not a token shard ({error}): run tokenize anew") from None
        if len(tokens) != count:
            raise DataError(f"{path}: not a token shard (its ids are another's): run tokenize anew")
        return shard


def join(parts: Sequence[Shard], path: Path) -> None:
    """Write one shard of all parts' documents, in order; no more than a part is ever in memory.

    Raises `DataError` when there is no document.
    """
    counts = [len(part.tokens) for part in parts]
    if not sum(counts):
        raise DataError("no documents: the corpus is empty after preparation: check its sources")
    before = np.cumsum([0, *counts[:-1]])
    kind = np.result_type(*(part.tokens.dtype for part in parts))
    _write(
        path,
        (part.tokens for part in parts),
        (sum(counts), kind),
        np.concatenate([part.starts + first for part, first in zip(parts, before, strict=True)]),
        np.concatenate([part.languages for part in parts]),
        np.concatenate([part.text_bytes for part in parts]),
    )


def _write(
    path: Path,
    pieces: Iterable[np.ndarray],
    shape: tuple[int, np.dtype],
    starts: np.ndarray,
    languages: np.ndarray,
    text_bytes: np.ndarray,
) -> None:
    count, kind = shape
    with atomic_writer(path.with_suffix(".npy")) as file:
        header = {"descr": dtype_to_descr(kind), "fortran_order": False, "shape": (count,)}
        write_array_header_1_0(file, header)
        for piece in pieces:
            file.write(np.ascontiguousarray(piece, dtype=kind).data)
    with atomic_writer(path) as file:
        np.savez(
            file,
            count=np.array(count),
            starts=starts,
            languages=languages,
            text_bytes=text_bytes,
        )


def window_rows(tokens: np.ndarray, length: int, batch: int, seed: int, step: int) -> np.ndarray:
    """The `step`-th batch of windows, (batch, length): a pure function of its arguments.

    Each epoch cuts the corpus at another offset and visits its windows in another order, so that
    no token always stands at a window's edge. Raises `DataError` when the corpus is too short.
    """
    count = (len(tokens) - 1) // length - 1
    if count < 1:
        raise DataError(
            f"the corpus has {len(tokens)} tokens, too few for windows of {length}: "
            "add text or shorten the window"
        )
    rows = np.empty((batch, length), dtype=np.int64)
    for i in range(batch):
        epoch, place = divmod(step * batch + i, count)
        offset, order = _epoch(count, length, seed, epoch)
        start = offset + int(order[place]) * length
        rows[i] = tokens[start : start + length]
    return rows


@lru_cache(maxsize=4)
def _epoch(count: int, length: int, seed: int, epoch: int) -> tuple[int, np.ndarray]:
    random = generator(seed, "windows", epoch)
    return int(random.integers(length)), random.permutation(count)
