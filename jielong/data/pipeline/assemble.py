"""Phase 5, one task: which documents fit, which are held out, and in which order they stand.

Every choice is a digest of the seed and the document's id, so it depends on nothing else.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jielong.core.seeds import derive
from jielong.data import dedup
from jielong.data.pipeline.catalogue import Catalogues
from jielong.data.pipeline.places import Places

_LARGE = 2  # a lot so many times as large as all that is wanted is passed over


@dataclass(frozen=True)
class Chosen:
    """The documents of both sides in their order, and those for which there was no room."""

    train: Places
    valid: Places
    over_cap: Places


def choose(
    catalogues: Catalogues,
    names: Sequence[str],
    caps: Mapping[str, float],
    valid_share: float,
    seed: int,
) -> Chosen:
    """Cap each source, hold out whole clusters, draw the order.

    `names` are the sources by rank; `caps` gives bytes by name, and a source without one is whole.
    """
    limits = {rank: caps[name] for rank, name in enumerate(names) if name in caps}
    ids, places = catalogues.column("ids"), catalogues.places()
    over = _over_cap(ids, catalogues.column("ranks"), catalogues.column("sizes"), limits, seed)
    fits = np.ones(len(ids), dtype=np.bool_)
    fits[over] = False
    is_valid = _held_out(catalogues, fits, names, valid_share, seed)
    order = np.argsort(_digests(seed, "order", ids), kind="stable")
    order = order[fits[order]]
    return Chosen(
        train=places.at(order[~is_valid[order]]),
        valid=places.at(order[is_valid[order]]),
        over_cap=places.at(over),
    )


def _digests(seed: int, purpose: str, ids: np.ndarray) -> np.ndarray:
    """What to sort documents by. # (D,) uint64"""
    digests = (derive(seed, purpose, f"{id_:016x}") for id_ in ids)
    return np.fromiter(digests, dtype=np.uint64, count=len(ids))


def _over_cap(
    ids: np.ndarray, ranks: np.ndarray, sizes: np.ndarray, caps: Mapping[int, float], seed: int
) -> np.ndarray:
    """The documents that are more than the cap of their source allows. # (O,) int64"""
    left = dict(caps)
    capped = np.flatnonzero(np.isin(ranks, list(caps)))
    over = array("q")
    for number in capped[np.argsort(_digests(seed, "cap", ids[capped]), kind="stable")]:
        source, size = int(ranks[number]), int(sizes[number])
        if size > left[source]:
            over.append(int(number))
        else:
            left[source] -= size
    return np.array(over, dtype=np.int64)


@dataclass(frozen=True)
class _Lots:
    """What is held out or not as one. A lot is what one cluster of groups has in one source.

    The lots of a cluster stand next to each other, and are all on one side.
    """

    of_document: np.ndarray  # (D,) int64; -1 for a document that does not fit
    clusters: np.ndarray  # (L,) int64
    sources: np.ndarray  # (L,) int64
    sizes: np.ndarray  # (L,) int64, bytes
    digests: np.ndarray  # (L,) uint64, their order in the draw


def _held_out(
    catalogues: Catalogues,
    fits: np.ndarray,
    names: Sequence[str],
    valid_share: float,
    seed: int,
) -> np.ndarray:
    """Which documents are held out: about `valid_share` of each source's bytes. # (D,) bool"""
    lots = _lots(catalogues, fits, names, seed)
    is_valid = _drawn(lots, len(names), valid_share)
    return np.append(is_valid, False)[lots.of_document]


def _drawn(lots: _Lots, sources: int, valid_share: float) -> np.ndarray:
    """Which lots are held out. # (L,) bool"""
    wanted = valid_share * np.bincount(lots.sources, weights=lots.sizes, minlength=sources)
    smallest = np.full(sources, np.inf)
    np.minimum.at(smallest, lots.sources, lots.sizes)
    most = _LARGE * np.maximum(wanted, smallest)
    left = np.bincount(lots.sources, minlength=sources)
    held, is_valid = np.zeros(sources), np.zeros(len(lots.sizes), dtype=np.bool_)
    for source in range(sources):
        mine = np.flatnonzero(lots.sources == source)
        for lot in mine[np.argsort(lots.digests[mine], kind="stable")]:
            if held[source] >= wanted[source]:
                break
            start, end = np.searchsorted(lots.clusters, lots.clusters[lot] + np.arange(2))
            of = lots.sources[start:end]
            # One lot of every source stays for training, whatever its size.
            if is_valid[lot] or left[of].min() == 1:
                continue
            after = held[of] + lots.sizes[start:end]
            if (after <= most[of]).all():
                is_valid[start:end], held[of] = True, after
                left[of] -= 1
    return is_valid


def _lots(catalogues: Catalogues, fits: np.ndarray, names: Sequence[str], seed: int) -> _Lots:
    """The lots of the documents that fit."""
    _, numbers = np.unique(catalogues.column("groups"), return_inverse=True)
    groups, count = numbers[catalogues.groups()], int(numbers.max(initial=-1)) + 1
    roots = dedup.clusters(count, catalogues.clauses(np.where(fits, groups, -1)))
    source_of = np.zeros(count, dtype=np.int64)
    source_of[groups] = catalogues.column("ranks")
    used = np.unique(groups[fits])
    # As one number each, so that lots are sorted by cluster.
    lots, of_used = np.unique(roots[used] * len(names) + source_of[used], return_inverse=True)
    clusters, sources = np.divmod(lots, len(names))
    of_group = np.full(count, -1)
    of_group[used] = of_used
    of_document = np.where(fits, of_group[groups], -1)
    sizes = np.zeros(len(lots), dtype=np.int64)
    np.add.at(sizes, of_document[fits], catalogues.column("sizes")[fits].astype(np.int64))
    return _Lots(
        of_document=of_document,
        clusters=clusters,
        sources=sources,
        sizes=sizes,
        digests=_lot_digests(
            zip(catalogues.group_names(), of_group[numbers], strict=True),
            np.bincount(of_used),
            sources,
            names,
            seed,
        ),
    )


def _lot_digests(
    groups: Iterable[tuple[str, np.integer]],
    counts: np.ndarray,
    sources: np.ndarray,
    names: Sequence[str],
    seed: int,
) -> np.ndarray:
    """What to draw lots by: the first name among their groups. # (L,) uint64

    `groups` are (name, lot); `counts` say how many groups each lot has, `sources` which source.
    """
    digests = np.empty(len(counts), dtype=np.uint64)
    first: dict[np.integer, str] = {}  # of the few lots with several groups
    for name, lot in groups:
        if lot < 0:
            continue
        if counts[lot] == 1:
            digests[lot] = derive(seed, "valid", names[int(sources[lot])], name)
        else:
            first[lot] = min(name, first.get(lot, name))
    for lot, name in first.items():
        digests[lot] = derive(seed, "valid", names[int(sources[lot])], name)
    return digests
