"""Where the phases of a run leave what they make for each other, part by part."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jielong.data.documents import Document
from jielong.data.pipeline import parts

WORK = "work"
"""The folder of a run in progress."""


@dataclass(frozen=True)
class Workspace:
    """A folder with one file of each kind a part; `count` is how many parts there are."""

    path: Path
    count: int

    def file(self, kind: str, part: int, suffix: str = "npz") -> Path:
        """One part's file of some kind."""
        return self.path / kind / f"{part:05d}.{suffix}"

    def files(self, kind: str, suffix: str = "npz") -> list[Path]:
        """Those of all parts, in order."""
        return [self.file(kind, part, suffix) for part in range(self.count)]

    def documents(self, phase: str, part: int) -> Path:
        """What `phase` ("extract" or "select") kept of one part."""
        return self.file(f"{phase}/kept", part, "jsonl")

    def read(self, phase: str, part: int) -> Iterator[Document]:
        """The same, one document at a time."""
        return parts.read_documents(self.documents(phase, part))

    @property
    def quality(self) -> Path:
        """The classifier of text quality and the alpha that goes with it."""
        return self.path / "quality"
