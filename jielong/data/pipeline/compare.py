"""Phase 3, one task: which documents and paragraphs repeat a more trusted one.

Exact repeats go first, then those that nearly repeat one of the others. Only then are paragraphs
compared, so that each that is cut is still read in a document that stays.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jielong.data.near_duplicates import NearDuplicate, ranks
from jielong.data.pipeline.arrays import load_arrays, load_column
from jielong.data.pipeline.entries import by_range, entry_writer
from jielong.data.pipeline.repeats import first_of_each

KEPT, EXACT, NEAR = 0, 1, 2
_HALF = np.uint64(32)
_LOW = np.uint64(2**32 - 1)


@dataclass(frozen=True)
class Decisions:
    """What becomes of one part's D documents, and which C paragraphs are cut out of them."""

    fates: np.ndarray  # (D,) uint8: KEPT, EXACT or NEAR
    kept_ids: np.ndarray  # (D,) uint64, the document that stays for each (itself when kept)
    similarity: np.ndarray  # (D,) float32, Jaccard with what it nearly repeats; 1 where equal
    owners: np.ndarray  # (C,) uint32, documents that lose a paragraph, in order
    places: np.ndarray  # (C,) uint32, which one

    @classmethod
    def load(cls, path: Path) -> "Decisions":
        """Read what `save_arrays` wrote."""
        return cls(**load_arrays(path))


Near = Callable[[NDArray[np.uint32], NDArray[np.bool_]], Iterable[NearDuplicate]]
"""Given every document's rank and which of them are left, those that nearly repeat another."""


@dataclass
class _State:
    """What is known of the D documents of all parts; positions count through them all."""

    rank: np.ndarray  # (D,) uint32, the most trusted first
    fates: np.ndarray  # (D,) uint8
    kept: np.ndarray  # (D,) int64, the position of the document that stays
    similarity: np.ndarray  # (D,) float32


@dataclass(frozen=True)
class _Cuts:
    """C paragraphs that were read before, in order."""

    owners: np.ndarray  # (C,) int64, positions of documents
    places: np.ndarray  # (C,) uint32
    firsts: np.ndarray  # (C,) int64, the document that says each first


def compare(
    tables: Sequence[Path], paragraphs: Sequence[Path], near: Near | None = None
) -> Iterator[Decisions]:
    """The decisions of every part, from the fingerprints of all.

    `tables` are the files of `Fingerprints`; files for paragraphs are made on the way.
    """
    ids = [load_column(path, "ids") for path in tables]
    starts = np.cumsum([0, *map(len, ids)])
    ids = np.concatenate(ids)
    found = _exact(tables, ids)
    if near is not None:
        _take_near(found, near(found.rank, found.fates == KEPT), starts)
    cuts = _cut_paragraphs(tables, paragraphs, starts, found)
    # What repeats a document that went since then repeats the one that stays for it.
    found.kept = found.kept[found.kept]
    for start, end in pairwise(starts.tolist()):
        first, last = np.searchsorted(cuts.owners, [start, end])
        yield Decisions(
            fates=found.fates[start:end],
            kept_ids=ids[found.kept[start:end]],
            similarity=found.similarity[start:end],
            owners=(cuts.owners[first:last] - start).astype(np.uint32),
            places=cuts.places[first:last],
        )


def _exact(tables: Sequence[Path], ids: np.ndarray) -> _State:
    rank = ranks(np.concatenate([load_column(path, "ranks") for path in tables]), ids)
    texts = np.concatenate([load_column(path, "texts") for path in tables])
    kept = first_of_each(texts, np.argsort(rank))
    fates = np.where(kept == np.arange(len(kept)), KEPT, EXACT).astype(np.uint8)
    return _State(rank, fates, kept, np.ones(len(kept), dtype=np.float32))


def _take_near(found: _State, repeats: Iterable[NearDuplicate], starts: np.ndarray) -> None:
    """Documents that nearly repeat another go, and with them their exact copies."""
    for repeat in repeats:
        position, kept = (starts[part] + row for part, row in (repeat.document, repeat.kept))
        found.fates[position], found.similarity[position] = NEAR, repeat.jaccard
        found.kept[position] = kept
    copies = np.flatnonzero((found.fates == EXACT) & (found.fates[found.kept] == NEAR))
    originals = found.kept[copies]
    found.fates[copies], found.similarity[copies] = NEAR, found.similarity[originals]
    found.kept[copies] = found.kept[originals]


def _cut_paragraphs(
    tables: Sequence[Path], paragraphs: Sequence[Path], starts: np.ndarray, found: _State
) -> _Cuts:
    """The long paragraphs that were read before, in a document that stays.

    A document of which nothing long is left is a repeat as a whole, of the one that says the first
    of its paragraphs.
    """
    left = _write_paragraphs(tables, paragraphs, starts, found.fates == KEPT)
    cuts = _repeated(paragraphs, starts, found.rank)
    np.subtract.at(left, cuts.owners, 1)
    losers, at = np.unique(cuts.owners, return_index=True)
    emptied = left[losers] == 0
    found.kept[losers[emptied]] = cuts.firsts[at[emptied]]
    found.fates[losers[emptied]] = EXACT
    stays = found.fates[cuts.owners] == KEPT
    return _Cuts(cuts.owners[stays], cuts.places[stays], cuts.firsts[stays])


def _write_paragraphs(
    tables: Sequence[Path], paths: Sequence[Path], starts: np.ndarray, stays: np.ndarray
) -> np.ndarray:
    """The long paragraphs of documents that stay, as entries; returns how many each has. # (D,)"""
    counts = np.zeros(len(stays), dtype=np.int64)
    for table, path, start, end in zip(tables, paths, starts[:-1], starts[1:], strict=True):
        owners, places = load_column(table, "owners"), load_column(table, "places")
        mine = stays[start:end][owners]
        counts[start:end] = np.bincount(owners[mine], minlength=end - start)
        with entry_writer(path) as entries:
            holders = owners[mine].astype(np.uint64) << _HALF | places[mine]
            entries.add(load_column(table, "paragraphs")[mine], holders)
    return counts


def _repeated(paths: Sequence[Path], starts: np.ndarray, rank: np.ndarray) -> _Cuts:
    """Each paragraph that a more trusted document, or the same one above it, says too."""
    found = [_Cuts(*(np.empty(0, dtype=kind) for kind in (np.int64, np.uint32, np.int64)))]
    for keys, files, holders in by_range(paths):
        owners = starts[files] + (holders >> _HALF).astype(np.int64)
        places = (holders & _LOW).astype(np.uint32)
        order = np.lexsort((places, rank[owners], keys))
        keys, owners, places = keys[order], owners[order], places[order]
        is_cut = np.zeros(len(keys), dtype=np.bool_)
        is_cut[1:] = keys[1:] == keys[:-1]
        first = np.maximum.accumulate(np.where(is_cut, 0, np.arange(len(keys))))
        found.append(_Cuts(owners[is_cut], places[is_cut], owners[first[is_cut]]))
    cuts = {
        name: np.concatenate([getattr(batch, name) for batch in found])
        for name in ("owners", "places", "firsts")
    }
    order = np.lexsort((cuts["places"], cuts["owners"]))
    return _Cuts(**{name: column[order] for name, column in cuts.items()})
