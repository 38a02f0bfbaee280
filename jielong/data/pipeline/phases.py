"""The phases of one run in order."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jielong.data.documents import Block, Document
from jielong.data.minhash import NearConfig
from jielong.data.pipeline import parts
from jielong.data.pipeline.catalogue import Catalogues
from jielong.data.pipeline.comparing import Compare
from jielong.data.pipeline.engine import EngineConfig, run_phase
from jielong.data.pipeline.extract import Extract, Reader
from jielong.data.pipeline.fingerprint import Fingerprint
from jielong.data.pipeline.late import Exams, LateBlocks, QualityStep, TrainQuality
from jielong.data.pipeline.parts import Part
from jielong.data.pipeline.places import Place, lines_at
from jielong.data.pipeline.select import CountGrams, Select
from jielong.data.pipeline.tally import Tally
from jielong.data.pipeline.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """A run of the phases over fixed parts.

    `names` are the sources, the most trusted first; `blocks` those of each source; documents of
    the source `judged` go through the quality classifier, all others are trusted.
    """

    work: Path
    parts: Sequence[Part]
    read: Reader
    blocks: Mapping[str, Sequence[Block]]
    names: Sequence[str]
    judged: str
    quality: QualityStep | None
    near: NearConfig | None
    exams: Exams | None
    seed: int
    engine: EngineConfig

    @property
    def at(self) -> Workspace:
        """Where everything lies."""
        return Workspace(self.work, len(self.parts))

    def run(self) -> dict[str, float]:
        """All phases but the last; what is done already is not done again. Seconds of each."""
        parts.fix(self.work / "plan.jsonl", self.parts)
        at, ranks = self.at, {name: rank for rank, name in enumerate(self.names)}
        late = LateBlocks(at, self.judged, self.quality, self.exams, self.seed)
        phases: dict[str, tuple[Callable[[int], None], int]] = {
            "extract": (Extract(at, self.parts, self.read, self.blocks), at.count)
        }
        if self.quality:
            learn = TrainQuality(at, self.quality, self.parts, self.judged, self.read, self.seed)
            phases["quality"] = (learn, 1)
        sketch = Fingerprint(at, ranks, self.near, self.seed)
        phases["fingerprint"] = (sketch, at.count)
        phases["compare"] = (Compare(at, self.near), 1)
        if self.exams:
            phases["count"] = (CountGrams(at, self.exams), at.count)
        phases["select"] = (Select(at, ranks, late), at.count)
        return {name: self._phase(name, *phase) for name, phase in phases.items()}

    def catalogues(self) -> Catalogues:
        """What is known of the selected documents."""
        return Catalogues(self.at)

    def documents(self, places: Iterable[Place]) -> Iterator[Document]:
        """The selected documents at these places, one at a time."""
        paths = self.at.files("select/kept", "jsonl")
        for line, path in lines_at(paths, places):
            yield parts.parse(line, path)

    def tally(self) -> Tally:
        """The counts of all phases."""
        phases = ("extract", "select")
        return Tally.sum(path for name in phases for path in self.at.files(f"{name}/tally", "json"))

    def _phase(self, name: str, work: Callable[[int], None], tasks: int) -> float:
        folder = self.work / "engine" / name
        return run_phase(f"prepare: {name}", work, tasks, folder, self.engine)
