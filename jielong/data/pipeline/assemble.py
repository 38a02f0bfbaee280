"""Phase 5, one task: which documents fit, which are held out, and in which order they stand.

Every choice is a digest of the seed and the document's id, so it depends on nothing else.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from jielong.core.seeds import derive
from jielong.data import dedup
from jielong.data.pipeline.catalogue import Catalogue


class Place(NamedTuple):
    """Where a document lies: the byte `offset` of its line in the file of `part`."""

    part: int
    offset: int


@dataclass(frozen=True)
class Chosen:
    """The documents of both sides in their order, and those for which there was no room."""

    train: list[Place]
    valid: list[Place]
    over_cap: list[Place]


@dataclass(frozen=True)
class _Row:
    id: str
    place: Place
    source: int
    size: int
    group: tuple[int, int]  # part, number within the part's catalogue


def choose(
    catalogues: Sequence[Catalogue],
    names: Sequence[str],
    caps: Mapping[str, float],
    valid_share: float,
    seed: int,
) -> Chosen:
    """Cap each source, hold out whole clusters, draw the order.

    `names` are the sources by rank; `caps` gives bytes by name, and a source without one is whole.
    """
    rows = list(_rows(catalogues))
    limits = {rank: caps[name] for rank, name in enumerate(names) if name in caps}
    kept, over = _cap(rows, limits, seed)
    held_out = _held_out(kept, catalogues, names, valid_share, seed)
    order = sorted(kept, key=lambda row: derive(seed, "order", row.id))
    return Chosen(
        train=[row.place for row in order if row.id not in held_out],
        valid=[row.place for row in order if row.id in held_out],
        over_cap=[row.place for row in over],
    )


def _rows(catalogues: Sequence[Catalogue]) -> Iterable[_Row]:
    for part, table in enumerate(catalogues):
        columns = zip(
            table.ids, table.offsets, table.ranks, table.sizes, table.group_of, strict=True
        )
        for id_, offset, rank, size, group in columns:
            place = Place(part, int(offset))
            yield _Row(f"{id_:016x}", place, int(rank), int(size), (part, int(group)))


def _cap(
    rows: Iterable[_Row], caps: Mapping[int, float], seed: int
) -> tuple[list[_Row], list[_Row]]:
    """As many documents of each source as its cap allows, and the others."""
    left = dict(caps)
    kept, over = [], []
    for row in sorted(rows, key=lambda row: derive(seed, "cap", row.id)):
        if row.source in left and row.size > left[row.source]:
            over.append(row)
            continue
        if row.source in left:
            left[row.source] -= row.size
        kept.append(row)
    return kept, over


def _held_out(
    rows: Iterable[_Row],
    catalogues: Sequence[Catalogue],
    names: Sequence[str],
    valid_share: float,
    seed: int,
) -> set[str]:
    """The ids of whole clusters of groups, per source at least `valid_share` of its bytes."""
    by_source: dict[int, list[_Row]] = defaultdict(list)
    for row in rows:
        by_source[row.source].append(row)
    held_out: set[str] = set()
    for source, members in by_source.items():
        clusters = _clusters(members, catalogues)
        wanted = valid_share * sum(row.size for row in members)
        order = sorted(clusters, key=lambda name: derive(seed, "valid", names[source], name))
        for name in order[:-1]:  # one cluster stays for training, whatever its size
            if wanted <= 0:
                break
            held_out.update(row.id for row in clusters[name])
            wanted -= sum(row.size for row in clusters[name])
    return held_out


def _clusters(rows: Sequence[_Row], catalogues: Sequence[Catalogue]) -> dict[str, list[_Row]]:
    """The documents of each cluster of groups that quote each other."""
    numbers: dict[str, int] = {}  # groups that several parts share are one
    of_row = [
        numbers.setdefault(str(catalogues[row.group[0]].groups[row.group[1]]), len(numbers))
        for row in rows
    ]
    group_at = {row.place: group for row, group in zip(rows, of_row, strict=True)}
    clauses, owners = [], []
    for part, table in enumerate(catalogues):
        groups = [group_at.get(Place(part, int(offset)), -1) for offset in table.offsets]
        of_clause = np.array(groups, dtype=np.int64)[table.owners]
        clauses.append(table.clauses[of_clause >= 0])
        owners.append(of_clause[of_clause >= 0])
    roots = dedup.clusters(list(numbers), np.concatenate(clauses), np.concatenate(owners))
    found: dict[str, list[_Row]] = defaultdict(list)
    for row, group in zip(rows, of_row, strict=True):
        found[roots[group]].append(row)
    return found
