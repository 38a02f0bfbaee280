"""Phase 4: carry the decisions out, apply the late rules, and catalogue what is left."""

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace

import numpy as np

from jielong.data.dedup import PARAGRAPH_END
from jielong.data.documents import Document, Dropped
from jielong.data.pipeline.catalogue import cataloguer
from jielong.data.pipeline.compare import EXACT, KEPT, Decisions
from jielong.data.pipeline.extract import apply
from jielong.data.pipeline.late import LateBlocks
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
        decisions = Decisions.load(self.at.file("decisions", task))
        blocks = self.late()
        with (
            cataloguer(self.at, task, self.ranks) as catalogue,
            task_output(self.at, "select", task) as output,
        ):
            for number, document in enumerate(self.at.read("extract", task)):
                start, end = np.searchsorted(decisions.owners, [number, number + 1])
                cuts = decisions.places[start:end].tolist()
                result = _decide(document, number, decisions, cuts)
                if not isinstance(result, Dropped):
                    output.tally.count("unique", result)
                    result = apply(blocks, result)
                if isinstance(result, Dropped):
                    output.drop(result)
                else:
                    output.tally.count("selected", result)
                    catalogue.add(result, output.keep(result))


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
