"""The phases of one run in order, and where in its work folder each leaves what it made."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from jielong.core.progress import say
from jielong.data.documents import Block, Document
from jielong.data.minhash import NO_KEY, NearConfig
from jielong.data.near_duplicates import NearDuplicate, find, ranks, save_keys
from jielong.data.pipeline import parts
from jielong.data.pipeline.arrays import save_arrays
from jielong.data.pipeline.assemble import Place
from jielong.data.pipeline.catalogue import Catalogue
from jielong.data.pipeline.compare import compare
from jielong.data.pipeline.engine import EngineConfig, run_phase
from jielong.data.pipeline.extract import Extract, Reader
from jielong.data.pipeline.fingerprint import Fingerprint
from jielong.data.pipeline.outputs import Folder
from jielong.data.pipeline.parts import Part
from jielong.data.pipeline.repeats import Fingerprints
from jielong.data.pipeline.select import Select
from jielong.data.pipeline.tally import Tally


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """A run of the phases over fixed parts. `names` are the sources, the most trusted first."""

    work: Path
    parts: Sequence[Part]
    read: Reader
    blocks: Mapping[str, Sequence[Block]]
    names: Sequence[str]
    near: NearConfig | None
    seed: int
    engine: EngineConfig

    @property
    def extracted(self) -> Folder:
        """The cleaned documents of each part."""
        return Folder(self.work / "extract")

    @property
    def selected(self) -> Folder:
        """Those that repeat nothing."""
        return Folder(self.work / "select")

    def run(self) -> None:
        """All phases but the last; what is done already is not done again."""
        parts.fix(self.work / "plan.jsonl", self.parts)
        order = {name: rank for rank, name in enumerate(self.names)}
        tables, keys, decisions, catalogues = (
            self.work / name for name in ("fingerprints", "keys", "decisions", "catalogues")
        )
        self._phase("extract", Extract(self.parts, self.read, self.blocks, self.extracted))
        self._phase(
            "fingerprint", Fingerprint(self.extracted, tables, order, self.near, keys, self.seed)
        )
        compare_ = _Compare(len(self.parts), self.extracted, tables, keys, self.near, decisions)
        self._phase("compare", compare_, tasks=1)
        self._phase(
            "select", Select(self.extracted, decisions, (), order, self.selected, catalogues)
        )

    def catalogues(self) -> list[Catalogue]:
        """What is known of the selected documents, part by part."""
        folder = self.work / "catalogues"
        return [Catalogue.load(_table(folder, task)) for task in range(len(self.parts))]

    def documents(self, places: Iterable[Place]) -> Iterator[Document]:
        """The selected documents at these places, one at a time."""
        with ExitStack() as stack:
            paths = [self.selected.file("kept", task) for task in range(len(self.parts))]
            files = [stack.enter_context(path.open("rb")) for path in paths]
            for place in places:
                files[place.part].seek(place.offset)
                yield parts.parse(files[place.part].readline(), paths[place.part])

    def tally(self) -> Tally:
        """The counts of all phases."""
        folders = (self.extracted, self.selected)
        tasks = range(len(self.parts))
        return Tally.sum(folder.file("tally", task) for folder in folders for task in tasks)

    def _phase(self, name: str, work: Callable[[int], None], tasks: int | None = None) -> None:
        count = len(self.parts) if tasks is None else tasks
        say(f"prepare: {name}, {count} task{'s' if count > 1 else ''}")
        run_phase(work, count, self.work / "engine" / name, self.engine)


@dataclass(frozen=True)
class _Compare:
    """Phase 3 as the engine calls it."""

    count: int
    extracted: Folder
    tables: Path
    keys: Path
    near: NearConfig | None
    decisions: Path

    def __call__(self, task: int) -> None:  # noqa: ARG002 - there is one
        tables = [Fingerprints.load(_table(self.tables, part)) for part in range(self.count)]
        if self.near is None:
            decided = compare(tables)
        else:
            decided = compare(tables, partial(self._near, tables, self.near))
        for part, decisions in enumerate(decided):
            save_arrays(_table(self.decisions, part), decisions)

    def _near(
        self, tables: list[Fingerprints], near: NearConfig, left: list[np.ndarray]
    ) -> list[NearDuplicate]:
        """Near repeats among the documents that are left."""
        keys = [self.keys / f"{part:05d}.npy" for part in range(self.count)]
        for path, kept in zip(keys, left, strict=True):
            found = np.load(path)
            found[:, ~kept] = NO_KEY
            save_keys(path, found)

        def fetch(part: int, row: int) -> str:
            path = self.extracted.file("kept", part)
            with path.open("rb") as file:
                file.seek(int(tables[part].offsets[row]))
                return parts.parse(file.readline(), path).text

        rank = ranks(
            np.concatenate([table.ranks for table in tables]),
            np.concatenate([table.ids for table in tables]),
        )
        return find(keys, rank, fetch, near)


def _table(folder: Path, task: int) -> Path:
    return folder / f"{task:05d}.npz"
