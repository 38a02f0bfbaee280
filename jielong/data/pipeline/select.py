"""Phase 4: carry the decisions out, remove test items, and note what assembling needs to know."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jielong.data.dedup import PARAGRAPH_END
from jielong.data.documents import Block, Document, Dropped
from jielong.data.pipeline.catalogue import Cataloguer
from jielong.data.pipeline.compare import EXACT, KEPT, Decisions
from jielong.data.pipeline.outputs import Folder, task_output
from jielong.data.pipeline.parts import read_documents


@dataclass(frozen=True)
class Select:
    """The work of one task: the last documents of one part, and their catalogue."""

    source: Folder
    decisions: Path
    blocks: Sequence[Block]
    ranks: Mapping[str, int]
    target: Folder
    catalogues: Path

    def __call__(self, task: int) -> None:
        """Apply part `task`'s decisions to its documents."""
        decisions = Decisions.load(self.decisions / f"{task:05d}.npz")
        cuts: dict[int, set[int]] = defaultdict(set)
        for owner, place in zip(decisions.owners, decisions.places, strict=True):
            cuts[int(owner)].add(int(place))
        catalogue = Cataloguer(self.ranks)
        with task_output(self.target, task) as output:
            documents = read_documents(self.source.file("kept", task))
            for number, document in enumerate(documents):
                result = _decide(document, number, decisions, cuts.get(number))
                if not isinstance(result, Dropped):
                    output.tally.count("unique", result)
                    result = self._clean(result)
                if isinstance(result, Dropped):
                    output.drop(result)
                else:
                    catalogue.add(result, output.keep(result))
        catalogue.save(self.catalogues / f"{task:05d}.npz")

    def _clean(self, document: Document) -> Document | Dropped:
        for block in self.blocks:
            result = block(document)
            if isinstance(result, Dropped):
                return result
            document = result
        return document


def _decide(
    document: Document, number: int, decisions: Decisions, cuts: set[int] | None
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
