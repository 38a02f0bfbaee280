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

from jielong.core.errors import DataError
from jielong.core.files import atomic_writer
from jielong.core.seeds import generator


@dataclass(frozen=True)
class Shard:
    """`tokens` (N,) ids; `starts` (D,) where each document's `<bos>` stands; `languages` (D,);
    `text_bytes` (D,) the UTF-8 length of each document's text."""

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
        if not starts:
            raise DataError(
                "no documents: the corpus is empty after preparation: check its sources"
            )
        tokens = np.frombuffer(ids, dtype=np.uint32)
        narrow = np.uint16 if tokens.max() < 2**16 else np.uint32
        return cls(
            tokens.astype(narrow),
            np.array(starts, dtype=np.int64),
            np.array(languages),
            np.array(sizes),
        )

    def take(self, numbers: np.ndarray) -> "Shard":
        """The documents with these numbers in this order, some of them perhaps several times."""
        ends = np.append(self.starts[1:], len(self.tokens))
        lengths = (ends - self.starts)[numbers]
        pieces = [self.tokens[self.starts[n] : ends[n]] for n in numbers]
        return Shard(
            np.concatenate(pieces),
            np.cumsum(lengths) - lengths,
            self.languages[numbers],
            self.text_bytes[numbers],
        )

    def save(self, path: Path) -> None:
        """Write a NumPy archive."""
        with atomic_writer(path) as file:
            np.savez(
                file,
                tokens=self.tokens,
                starts=self.starts,
                languages=self.languages,
                text_bytes=self.text_bytes,
            )

    @classmethod
    def load(cls, path: Path) -> "Shard":
        """Read what `save` wrote; raises `DataError` when the file is missing or damaged."""
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                return cls(**{name: archive[name] for name in archive.files})
        except Exception as error:  # noqa: BLE001 - zipfile and NumPy raise many kinds
            raise DataError(f"{path}: not a token shard ({error}): run tokenize anew") from None


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
