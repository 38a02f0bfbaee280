"""What assembling knows of each document: where it lies, how large it is, whom it belongs with."""

import json
from array import array
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

import numpy as np

from jielong.core.files import atomic_writer, canonical_json
from jielong.core.seeds import derive
from jielong.data.dedup import clause_digests
from jielong.data.documents import Document
from jielong.data.pipeline.arrays import load_column, save_arrays
from jielong.data.pipeline.entries import EntryWriter, by_range, entry_writer
from jielong.data.pipeline.places import Places
from jielong.data.pipeline.workspace import Workspace


@dataclass(frozen=True)
class Catalogue:
    """The D documents of one part, and its runs of documents of one group, of which there are G.

    What is long lies in files of its own: the names of the groups, and the clauses of each document
    as entries.
    """

    ids: np.ndarray  # (D,) uint64
    ranks: np.ndarray  # (D,) uint16, the source's place in the recipe
    offsets: np.ndarray  # (D,) uint64, where the line begins, in bytes
    sizes: np.ndarray  # (D,) uint64, bytes of text
    group_of: np.ndarray  # (D,) uint32
    groups: np.ndarray  # (G,) uint64, digest of source and name: one group may have several runs


class Cataloguer:
    """Fills a `Catalogue` one document at a time."""

    def __init__(self, ranks: Mapping[str, int], clauses: EntryWriter, names: IO[bytes]) -> None:
        self.ranks = ranks
        self._clauses, self._names = clauses, names
        self._ids, self._ranks, self._offsets = array("Q"), array("H"), array("Q")
        self._sizes, self._group_of, self._groups = array("Q"), array("I"), array("Q")

    def add(self, document: Document, offset: int) -> None:
        """Take up the document whose line begins at byte `offset`."""
        group = derive(0, "group", document.source, document.group)
        if not self._groups or group != self._groups[-1]:
            self._groups.append(group)
            self._names.write(f"{canonical_json(document.group)}\n".encode())
        self._clauses.add(clause_digests(document.text), len(self._ids))
        self._ids.append(int(document.id, 16))
        self._ranks.append(self.ranks[document.source])
        self._offsets.append(offset)
        self._sizes.append(document.size_bytes)
        self._group_of.append(len(self._groups) - 1)

    def table(self) -> Catalogue:
        """What was taken up."""
        return Catalogue(
            ids=np.array(self._ids, dtype=np.uint64),
            ranks=np.array(self._ranks, dtype=np.uint16),
            offsets=np.array(self._offsets, dtype=np.uint64),
            sizes=np.array(self._sizes, dtype=np.uint64),
            group_of=np.array(self._group_of, dtype=np.uint32),
            groups=np.array(self._groups, dtype=np.uint64),
        )


@contextmanager
def cataloguer(at: Workspace, part: int, ranks: Mapping[str, int]) -> Iterator[Cataloguer]:
    """The catalogue of one part, which is written when the block ends without an error."""
    with (
        entry_writer(at.file("clauses", part, "bin")) as clauses,
        atomic_writer(at.file("groups", part, "jsonl")) as names,
    ):
        found = Cataloguer(ranks, clauses, names)
        yield found
    save_arrays(at.file("catalogues", part), found.table())


@dataclass(frozen=True)
class Catalogues:
    """Those of all parts as one, a column at a time."""

    at: Workspace

    def column(self, name: str) -> np.ndarray:
        """One of the columns of `Catalogue`, part after part."""
        return np.concatenate(self._columns(name))

    def groups(self) -> np.ndarray:
        """Of each document the place of its group in the column of that name. # (D,) int64"""
        counts = [len(column) for column in self._columns("groups")]
        first = np.cumsum([0, *counts])
        columns = self._columns("group_of")
        return np.concatenate([column + start for column, start in zip(columns, first)])  # noqa: B905

    def group_names(self) -> Iterator[str]:
        """The names that go with the column of groups, one at a time."""
        for path in self.at.files("groups", "jsonl"):
            with path.open("rb") as file:
                yield from map(json.loads, file)

    def places(self) -> Places:
        """Where every document lies."""
        columns = self._columns("offsets")
        parts = np.repeat(np.arange(len(columns), dtype=np.uint32), list(map(len, columns)))
        return Places(parts, np.concatenate(columns))

    def clauses(self, owners: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(clauses, their owners) in batches, all of one clause in one batch.

        `owners` says of each document whom its clauses belong to; below 0, to nobody.
        """
        starts = np.cumsum([0, *map(len, self._columns("ids"))])
        for keys, files, holders in by_range(self.at.files("clauses", "bin")):
            of_clause = owners[starts[files] + holders.astype(np.int64)]
            yield keys[of_clause >= 0], of_clause[of_clause >= 0]

    def _columns(self, name: str) -> list[np.ndarray]:
        return [load_column(path, name) for path in self.at.files("catalogues")]
