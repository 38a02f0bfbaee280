"""Phase 3, one task: which documents and paragraphs repeat a more trusted one."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jielong.data.near_duplicates import NearDuplicate
from jielong.data.pipeline.arrays import load_arrays
from jielong.data.pipeline.repeats import Fingerprints, first_of_each

KEPT, EXACT, NEAR = 0, 1, 2


@dataclass(frozen=True)
class Decisions:
    """What becomes of one part's D documents, and which C paragraphs are cut out of them."""

    fates: np.ndarray  # (D,) uint8: KEPT, EXACT or NEAR
    kept_ids: np.ndarray  # (D,) uint64, the document that each repeats (itself when kept)
    similarity: np.ndarray  # (D,) float32, Jaccard with that one; 1 where equal
    owners: np.ndarray  # (C,) uint32, documents that lose a paragraph
    places: np.ndarray  # (C,) uint32, which one

    @classmethod
    def load(cls, path: Path) -> "Decisions":
        """Read what `save_arrays` wrote."""
        return cls(**load_arrays(path))


@dataclass(frozen=True)
class _All:
    """The fingerprints of all parts as one; positions count through all documents."""

    ids: np.ndarray
    texts: np.ndarray
    order: np.ndarray  # positions, the most trusted first
    paragraphs: np.ndarray
    owners: np.ndarray
    places: np.ndarray

    @classmethod
    def join(cls, tables: Sequence[Fingerprints]) -> "_All":
        starts = np.cumsum([0, *(len(table.ids) for table in tables)])
        ids = np.concatenate([table.ids for table in tables])
        ranks = np.concatenate([table.ranks for table in tables])
        owners = [table.owners + start for table, start in zip(tables, starts[:-1], strict=True)]
        return cls(
            ids=ids,
            texts=np.concatenate([table.texts for table in tables]),
            order=np.lexsort((ids, ranks)),
            paragraphs=np.concatenate([table.paragraphs for table in tables]),
            owners=np.concatenate(owners).astype(np.int64),
            places=np.concatenate([table.places for table in tables]),
        )


Near = Callable[[list[np.ndarray]], Iterable[NearDuplicate]]
"""Given which documents of each part are left (bool), those that nearly repeat another of them."""


def compare(tables: Sequence[Fingerprints], near: Near | None = None) -> list[Decisions]:
    """The decisions of every part, from the fingerprints of all."""
    found = _All.join(tables)
    kept = first_of_each(found.texts, found.order)
    is_cut = _cut_paragraphs(found, kept)
    fates = np.where(kept == np.arange(len(kept)), KEPT, EXACT).astype(np.uint8)
    similarity = np.ones(len(kept), dtype=np.float32)
    ends = np.cumsum([len(table.ids) for table in tables])
    starts = ends - [len(table.ids) for table in tables]
    if near is not None:
        for repeat in near(np.split(fates == KEPT, ends[:-1])):
            (part, row), (of_part, of_row) = repeat.document, repeat.kept
            position = starts[part] + row
            fates[position], similarity[position] = NEAR, repeat.jaccard
            kept[position] = starts[of_part] + of_row
    is_cut &= fates[found.owners] == KEPT
    decisions = []
    for start, end in zip(starts, ends, strict=True):
        part = slice(start, end)
        mine = is_cut & (found.owners >= part.start) & (found.owners < part.stop)
        decisions.append(
            Decisions(
                fates=fates[part],
                kept_ids=found.ids[kept[part]],
                similarity=similarity[part],
                owners=(found.owners[mine] - part.start).astype(np.uint32),
                places=found.places[mine],
            )
        )
    return decisions


def _cut_paragraphs(found: _All, kept: np.ndarray) -> np.ndarray:
    """Which long paragraphs were read before, in a document that stays. # (P,) bool

    A document of which nothing long is left is a repeat as a whole: `kept` then says of which.
    """
    rank = np.empty(len(found.ids), dtype=np.int64)
    rank[found.order] = np.arange(len(found.ids))
    counts = kept[found.owners] == found.owners  # the paragraphs of documents that are no repeats
    # Paragraphs of repeats come last, so that none of them is the first of its kind.
    order = np.lexsort((found.places, rank[found.owners], ~counts))
    first = first_of_each(found.paragraphs, order)
    is_cut = counts & (first != np.arange(len(first)))
    left = np.bincount(found.owners[counts & ~is_cut], minlength=len(kept))
    losers, at = np.unique(found.owners[is_cut], return_index=True)
    emptied = left[losers] == 0
    kept[losers[emptied]] = found.owners[first[is_cut][at[emptied]]]
    return is_cut
