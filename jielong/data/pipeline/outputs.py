"""What one task writes: the documents it kept, those it dropped and why, its counts."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import IO

from jielong.core.files import atomic_writer, canonical_json
from jielong.data.documents import Document, Dropped, Rejected
from jielong.data.pipeline.tally import Tally
from jielong.data.pipeline.workspace import Workspace

_SHOWN = 400  # characters of a dropped document


def dropped_line(dropped: Dropped) -> bytes:
    """What is told of a dropped document, as one line of JSON."""
    document = dropped.document
    record = {
        "id": document.id,
        "source": document.source,
        "lang": document.lang,
        "rule": dropped.rule,
        "detail": dropped.detail,
        "bytes": document.size_bytes,
        "text": document.text[:_SHOWN],
    }
    return canonical_json(record).encode() + b"\n"


@dataclass
class Output:
    """Open files of one task. What stays of a document is decided by the caller."""

    tally: Tally
    write: Callable[[str, bytes], object]
    _offset: int = 0

    def keep(self, document: Document) -> int:
        """This document goes on to the next phase; returns the byte at which its line begins."""
        line, offset = canonical_json(asdict(document)).encode() + b"\n", self._offset
        self.write("kept", line)
        self._offset += len(line)
        return offset

    def drop(self, dropped: Dropped) -> None:
        """This one does not, by a rule that is counted and shown."""
        self.tally.count(f"dropped.{dropped.rule}", dropped.document)
        self.write("dropped", dropped_line(dropped))

    def reject(self, rejected: Rejected) -> None:
        """Input that never became a document."""
        self.write("rejected", canonical_json(asdict(rejected)).encode() + b"\n")


@contextmanager
def task_output(at: Workspace, phase: str, part: int) -> Iterator[Output]:
    """All files of one task; none appears unless the block ends without an error."""
    with ExitStack() as stack:
        files: dict[str, IO[bytes]] = {
            kind: stack.enter_context(atomic_writer(at.file(f"{phase}/{kind}", part, "jsonl")))
            for kind in ("kept", "dropped", "rejected")
        }
        output = Output(Tally(), lambda kind, line: files[kind].write(line))
        yield output
    output.tally.save(at.file(f"{phase}/tally", part, "json"))
