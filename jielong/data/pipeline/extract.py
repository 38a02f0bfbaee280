"""Phase 1: read a part, clean each document, drop what a rule refuses."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from jielong.data.documents import Block, Document, Dropped, Rejected
from jielong.data.pipeline.outputs import task_output
from jielong.data.pipeline.parts import Part
from jielong.data.pipeline.workspace import Workspace

Reader = Callable[[Part], Iterator[Document | Rejected]]


@dataclass(frozen=True)
class Extract:
    """The work of one task. `blocks` are those of each source, in order."""

    at: Workspace
    parts: Sequence[Part]
    read: Reader
    blocks: Mapping[str, Sequence[Block]]

    def __call__(self, task: int) -> None:
        """Read part number `task` and write what is left of it."""
        part, digest = self.parts[task], hashlib.sha256()
        with task_output(self.at, "extract", task) as output:
            for record in self.read(part):
                if isinstance(record, Rejected):
                    output.reject(record)
                    continue
                output.tally.count("extracted", record)
                digest.update(record.text.encode(errors="replace"))
                result = apply(self.blocks[part.source], record)
                if isinstance(result, Dropped):
                    output.drop(result)
                else:
                    output.tally.count("clean", result)
                    output.tally.count_masked(result)
                    output.keep(result)
            number = sum(before.source == part.source for before in self.parts[:task])
            output.tally.texts[f"{part.source}/{number:05d}"] = digest.hexdigest()


def apply(blocks: Iterable[Block], document: Document) -> Document | Dropped:
    """One block after the other, until one drops the document."""
    for block in blocks:
        result = block(document)
        if isinstance(result, Dropped):
            return result
        document = result
    return document
