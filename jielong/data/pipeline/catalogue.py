"""What assembling knows of each document: where it lies, how large it is, whom it belongs with."""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jielong.data.dedup import clause_digests
from jielong.data.documents import Document
from jielong.data.pipeline.arrays import load_arrays, save_arrays


@dataclass(frozen=True)
class Catalogue:
    """D documents of G groups, with the C clauses that each group holds."""

    ids: np.ndarray  # (D,) uint64
    ranks: np.ndarray  # (D,) uint16, the source's place in the recipe
    offsets: np.ndarray  # (D,) uint64, where the line begins, in bytes
    sizes: np.ndarray  # (D,) uint64, bytes of text
    group_of: np.ndarray  # (D,) uint32
    groups: np.ndarray  # (G,) str
    clauses: np.ndarray  # (C,) uint64 digests
    owners: np.ndarray  # (C,) uint32, the document of each

    @classmethod
    def load(cls, path: Path) -> "Catalogue":
        """Read what `Cataloguer.save` wrote."""
        return cls(**load_arrays(path))


class Cataloguer:
    """Fills a `Catalogue` one document at a time."""

    def __init__(self, ranks: Mapping[str, int]) -> None:
        self.ranks = ranks
        self._ids, self._ranks, self._offsets = array("Q"), array("H"), array("Q")
        self._sizes, self._group_of = array("Q"), array("L")
        self._groups: dict[str, int] = {}
        self._clauses, self._owners = array("Q"), array("L")

    def add(self, document: Document, offset: int) -> None:
        """Take up the document whose line begins at byte `offset`."""
        number = len(self._ids)
        self._ids.append(int(document.id, 16))
        self._ranks.append(self.ranks[document.source])
        self._offsets.append(offset)
        self._sizes.append(document.size_bytes)
        self._group_of.append(self._groups.setdefault(document.group, len(self._groups)))
        clauses = clause_digests(document.text)
        self._clauses.extend(clauses)
        self._owners.extend([number] * len(clauses))

    def save(self, path: Path) -> None:
        """Write the catalogue of one part."""
        table = Catalogue(
            ids=np.array(self._ids, dtype=np.uint64),
            ranks=np.array(self._ranks, dtype=np.uint16),
            offsets=np.array(self._offsets, dtype=np.uint64),
            sizes=np.array(self._sizes, dtype=np.uint64),
            group_of=np.array(self._group_of, dtype=np.uint32),
            groups=np.array(list(self._groups), dtype=np.str_),
            clauses=np.array(self._clauses, dtype=np.uint64),
            owners=np.array(self._owners, dtype=np.uint32),
        )
        save_arrays(path, table)
