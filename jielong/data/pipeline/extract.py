"""Phase 1: read a part, clean each document, drop what a rule refuses."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from jielong.data.documents import Block, Document, Dropped, Rejected
from jielong.data.pipeline.outputs import Folder, Output, task_output
from jielong.data.pipeline.parts import Part

Reader = Callable[[Part], Iterator[Document | Rejected]]


@dataclass(frozen=True)
class Extract:
    """The work of one task. `blocks` are those of each source, in order."""

    parts: Sequence[Part]
    read: Reader
    blocks: Mapping[str, Sequence[Block]]
    folder: Folder

    def __call__(self, task: int) -> None:
        """Read part number `task` and write what is left of it."""
        part, digest = self.parts[task], hashlib.sha256()
        with task_output(self.folder, task) as output:
            for record in self.read(part):
                if isinstance(record, Rejected):
                    output.reject(record)
                else:
                    output.tally.count("extracted", record)
                    digest.update(record.text.encode(errors="replace"))
                    self._clean(record, output)
            output.tally.texts[f"{part.source}/{task:05d}"] = digest.hexdigest()

    def _clean(self, document: Document, output: Output) -> None:
        for block in self.blocks[document.source]:
            result = block(document)
            if isinstance(result, Dropped):
                output.drop(result)
                return
            document = result
        output.tally.count("clean", document)
        output.keep(document)
