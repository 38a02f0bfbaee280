"""The phases of one run in order, and where in its work folder each leaves what it made."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from jielong.core.progress import say
from jielong.data.documents import Block, Document
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
        ranks = {name: rank for rank, name in enumerate(self.names)}
        tables, decisions, catalogues = (
            self.work / name for name in ("fingerprints", "decisions", "catalogues")
        )
        self._phase("extract", Extract(self.parts, self.read, self.blocks, self.extracted))
        self._phase("fingerprint", Fingerprint(self.extracted, tables, ranks))
        self._phase("compare", _Compare(len(self.parts), tables, decisions), tasks=1)
        self._phase(
            "select", Select(self.extracted, decisions, (), ranks, self.selected, catalogues)
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
    tables: Path
    decisions: Path

    def __call__(self, task: int) -> None:  # noqa: ARG002 - there is one
        found = [Fingerprints.load(_table(self.tables, part)) for part in range(self.count)]
        for part, decided in enumerate(compare(found)):
            save_arrays(_table(self.decisions, part), decided)


def _table(folder: Path, task: int) -> Path:
    return folder / f"{task:05d}.npz"
