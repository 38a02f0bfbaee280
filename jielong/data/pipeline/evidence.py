"""What a run leaves beside its documents: everything dropped, rejected and found repeated."""

import json
from array import array
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from jielong.core.files import atomic_writer, canonical_json
from jielong.data.pipeline.phases import Pipeline
from jielong.data.pipeline.places import Places, lines_at

_SHOWN = 200  # characters of the document that stays
_REPEAT = "duplicate."


def write_rejected(pipeline: Pipeline, path: Path) -> None:
    """All input that could not be read, part by part."""
    with atomic_writer(path) as file:
        file.writelines(_lines(pipeline.at.files("extract/rejected", "jsonl")))


def write_dropped(pipeline: Pipeline, folder: Path) -> None:
    """One file a phase: every document that a rule refused."""
    for phase in ("extract", "select"):
        with atomic_writer(folder / f"{phase}.jsonl") as file:
            file.writelines(_lines(pipeline.at.files(f"{phase}/dropped", "jsonl")))


def write_duplicates(pipeline: Pipeline, path: Path) -> None:
    """One line a cluster: the document that stays, and those that repeat it."""
    files = pipeline.at.files("select/dropped", "jsonl")
    kept, places = _repeats(files)
    order = np.argsort(kept, kind="stable")
    records = (json.loads(line) for line, _ in lines_at(files, places.at(order)))
    texts = _shown(pipeline, np.unique(kept))
    with atomic_writer(path) as file:
        for (name, cluster), text in zip(groupby(records, _kept), texts, strict=True):
            line = {"kept": name, "dropped": list(map(_repeat, cluster)), "text": text}
            file.write(f"{canonical_json(line)}\n".encode())


def _repeats(paths: Iterable[Path]) -> tuple[np.ndarray, Places]:
    """The ids of the documents that repeats are repeats of, and where it says so."""
    kept, parts, offsets = array("Q"), array("I"), array("Q")
    for part, path in enumerate(paths):
        offset = 0
        for line in _lines([path]):
            record = json.loads(line)
            if record["rule"].startswith(_REPEAT):
                kept.append(int(_kept(record), 16))
                parts.append(part)
                offsets.append(offset)
            offset += len(line)
    places = Places(np.array(parts, dtype=np.uint32), np.array(offsets, dtype=np.uint64))
    return np.array(kept, dtype=np.uint64), places


def _kept(record: dict[str, Any]) -> str:
    return record["detail"].split()[-1]


def _repeat(record: dict[str, Any]) -> dict[str, Any]:
    kind = record["rule"].removeprefix(_REPEAT)
    jaccard = float(record["detail"].split()[1]) if kind == "near" else 1.0
    return {"id": record["id"], "source": record["source"], "kind": kind, "jaccard": jaccard}


def _shown(pipeline: Pipeline, wanted: np.ndarray) -> Iterator[str]:
    """The beginning of each document, given sorted ids; of one that went later, nothing."""
    catalogues = pipeline.catalogues()
    ids = catalogues.column("ids")
    found = np.flatnonzero(np.isin(ids, wanted))
    found = found[np.argsort(ids[found])]
    documents = pipeline.documents(catalogues.places().at(found))
    for was_selected in np.isin(wanted, ids):
        yield next(documents).text[:_SHOWN] if was_selected else ""


def _lines(paths: Iterable[Path]) -> Iterator[bytes]:
    for path in paths:
        with path.open("rb") as file:
            yield from file
