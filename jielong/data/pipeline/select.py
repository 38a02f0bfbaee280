"""Phase 4: carry the decisions out, apply the late rules, and catalogue what is left."""

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from jielong.data.dedup import PARAGRAPH_END
from jielong.data.documents import Document, Dropped
from jielong.data.pipeline.arrays import save_array
from jielong.data.pipeline.catalogue import cataloguer
from jielong.data.pipeline.compare import EXACT, KEPT, Decisions
from jielong.data.pipeline.extract import apply
from jielong.data.pipeline.late import Exams, LateBlocks, gram_index
from jielong.data.pipeline.outputs import task_output
from jielong.data.pipeline.workspace import Workspace


@dataclass(frozen=True)
class Select:
    """The work of one task: the last documents of one part, and their catalogue."""

    at: Workspace
    ranks: Mapping[str, int]
    late: LateBlocks

    def __call__(self, task: int) -> None:
        """Apply part `task`'s decisions to its documents."""
        blocks = self.late()
        with (
            cataloguer(self.at, task, self.ranks) as catalogue,
            task_output(self.at, "select", task) as output,
        ):
            for result in decided(self.at, task):
                if not isinstance(result, Dropped):
                    output.tally.count("unique", result)
                    result = apply(blocks, result)
                if isinstance(result, Dropped):
                    output.drop(result)
                else:
                    output.tally.count("selected", result)
                    catalogue.add(result, output.keep(result))


@dataclass(frozen=True)
class CountGrams:
    """The work of one task before that: in how many documents that stay each exam gram stands."""

    at: Workspace
    exams: Exams

    def __call__(self, task: int) -> None:
        """Count in part `task`."""
        results = decided(self.at, task)
        texts = (result.text for result in results if not isinstance(result, Dropped))
        save_array(self.at.file("counts", task, "npy"), gram_index(self.exams).count(texts))


def decided(at: Workspace, task: int) -> Iterator[Document | Dropped]:
    """The documents of part `task` as they were decided about."""
    decisions = Decisions.load(at.file("decisions", task))
    for number, document in enumerate(at.read("extract", task)):
        start, end = np.searchsorted(decisions.owners, [number, number + 1])
        yield _decide(document, number, decisions, decisions.places[start:end].tolist())


def _decide(
    document: Document, number: int, decisions: Decisions, cuts: Container[int]
) -> Document | Dropped:
    """The document, without the paragraphs that another one said, or the reason why it goes."""
    fate = decisions.fates[number]
    if fate != KEPT:
        kept = f"{decisions.kept_ids[number]:016x}"
        if fate == EXACT:
            return Dropped(document=document, rule="duplicate.exact", detail=f"as {kept}")
        detail = f"Jaccard {decisions.similarity[number]:.2f} with {kept}"
        return Dropped(document=document, rule="duplicate.near", detail=detail)
    if not cuts:
        return document
    paragraphs = document.text.split(PARAGRAPH_END)
    left = [text for place, text in enumerate(paragraphs) if place not in cuts]
    return replace(document, text=PARAGRAPH_END.join(left))
