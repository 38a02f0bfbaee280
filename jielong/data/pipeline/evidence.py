"""What a run leaves beside its documents: everything dropped, rejected and found repeated."""

import json
from collections.abc import Container, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from jielong.core.files import atomic_writer, canonical_json
from jielong.data.pipeline.assemble import Place
from jielong.data.pipeline.phases import Pipeline

_SHOWN = 200  # characters of the document that stays


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
    clusters: dict[str, list[dict[str, Any]]] = {}
    for line in _lines(pipeline.at.files("select/dropped", "jsonl")):
        record = json.loads(line)
        kind = record["rule"].removeprefix("duplicate.")
        if kind != record["rule"]:
            detail = record["detail"].split()
            jaccard = float(detail[1]) if kind == "near" else 1.0
            repeat = {"id": record["id"], "source": record["source"], "jaccard": jaccard}
            clusters.setdefault(detail[-1], []).append(repeat | {"kind": kind})
    places = _places(pipeline, clusters)
    texts = dict(zip(places, pipeline.documents(places.values()), strict=True))
    with atomic_writer(path) as file:
        for kept in sorted(clusters):
            text = texts[kept].text[:_SHOWN] if kept in texts else ""
            cluster = {"kept": kept, "dropped": clusters[kept], "text": text}
            file.write(f"{canonical_json(cluster)}\n".encode())


def _places(pipeline: Pipeline, wanted: Container[str]) -> dict[str, Place]:
    return {
        name: Place(part, int(offset))
        for part, table in enumerate(pipeline.catalogues())
        for id_, offset in zip(table.ids, table.offsets, strict=True)
        if (name := f"{id_:016x}") in wanted
    }


def _lines(paths: Iterable[Path]) -> Iterator[bytes]:
    with ExitStack() as stack:
        for path in paths:
            yield from stack.enter_context(path.open("rb"))
