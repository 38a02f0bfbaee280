"""The rules that have to have seen the whole corpus: quality, learned from it, and leaked items."""

import heapq
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from jielong.core.errors import DataError
from jielong.core.files import write_atomic
from jielong.core.seeds import derive
from jielong.data import decontaminate
from jielong.data.decontaminate import DecontaminationConfig, Decontaminator, GramIndex
from jielong.data.documents import Block, Document, Dropped, Rejected
from jielong.data.filters import personal, quality
from jielong.data.filters.personal import PersonalConfig
from jielong.data.filters.quality import QualityConfig, QualityModel
from jielong.data.pipeline.parts import Part, group_files
from jielong.data.pipeline.workspace import Workspace
from jielong.data.readers.find import find

_MOST = 20_000  # documents that a classifier learns from


@dataclass(frozen=True, kw_only=True)
class QualityStep(QualityConfig):
    """`positives` are trusted sources; `negatives` patterns of bad files, else damage is made."""

    positives: tuple[str, ...]
    negatives: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.positives:
            raise ValueError("positives: empty: name the sources whose text is good")


@dataclass(frozen=True, kw_only=True)
class DecontaminationStep(DecontaminationConfig):
    """`files` are patterns of JSON Lines of evaluation items, of which `fields` are read (none: all
    texts)."""

    files: tuple[str, ...]
    fields: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.files:
            raise ValueError("files: empty: name the files of evaluation items")


@dataclass(frozen=True)
class Exams:
    """The evaluation items of a recipe's step: the files that its patterns found, and the kinds of
    personal data that the text has placeholders for."""

    step: DecontaminationStep
    files: tuple[str, ...]
    masked: tuple[str, ...] = ()


@lru_cache(maxsize=1)
def gram_index(exams: Exams) -> GramIndex:
    """The index of a recipe's items; made once in each process.

    Raises `DataError` for a file that cannot be read, and when every item is too short.
    """
    step = exams.step
    items = decontaminate.load_items([Path(name) for name in exams.files], step.fields)
    mask = PersonalConfig(kinds=exams.masked)

    def forms(text: str) -> set[str]:
        return {text, *(personal.mask(text, lang, mask)[0] for lang in ("zh", "en"))}

    index = decontaminate.build_index(items, step, forms)
    if not len(index.grams):
        raise DataError(
            f"decontaminate.files: none of {sum(index.given.values())} text(s) has shortest_item = "
            f"{step.shortest_item} units or more: nothing would be looked for"
        )
    return index


def searched(at: Workspace, exams: Exams) -> dict[str, dict[str, int]]:
    """Of each set: how many items it has, how many were looked for, and how many were found."""
    index = gram_index(exams)
    leaked = index.leaked(_counts(at))
    return {
        name: {"items": index.given[name], "searched": len(items), "leaked": leaked[name]}
        for name, items in index.items.items()
    }


def stands_in(index: GramIndex, text: str) -> bool:
    """Whether a text holds a gram of an evaluation item, common or not."""
    return any(True for _ in index.find(text))


def _counts(at: Workspace) -> np.ndarray:
    return np.asarray(sum(map(np.load, at.files("counts", "npy"))))


@dataclass(frozen=True)
class TrainQuality:
    """The phase between extracting and comparing that learns what good text is; it has one task."""

    at: Workspace
    step: QualityStep
    parts: Sequence[Part]
    judged: str
    """The source whose documents will be judged; "match" fits alpha to them."""
    read: Callable[[Part], Iterator[Document | Rejected]]
    seed: int

    def __call__(self, task: int) -> None:  # noqa: ARG002 - there is one
        """Write the classifier, and beside it the alpha of the resampling."""
        positives = self._drawn(self.step.positives)
        if missing := sorted(
            set(self.step.positives) - {document.source for document in positives}
        ):
            raise DataError(
                f"quality.positives: {missing[0]}: no document of it is left to learn from: name a "
                "source that the recipe reads"
            )
        parts = group_files(self.judged, find(self.step.negatives))
        read = (record for part in parts for record in self.read(part))
        negatives = self._sample(record for record in read if isinstance(record, Document))
        model = quality.train(positives, negatives, self.seed)
        model.save(self.at.quality)
        alpha = self.step.alpha
        if not isinstance(alpha, float):
            scores = [model.score(d.text, d.lang) for d in self._drawn((self.judged,))]
            alpha = quality.match_alpha(scores, model.positive_scores())
        write_atomic(self.at.quality / "alpha.json", json.dumps(alpha))

    def _drawn(self, sources: Sequence[str]) -> list[Document]:
        """A bounded number of documents of these sources, drawn by digest."""
        return self._sample(
            document
            for task, part in enumerate(self.parts)
            if part.source in sources
            for document in self.at.read("extract", task)
        )

    def _sample(self, found: Iterable[Document]) -> list[Document]:
        return heapq.nsmallest(
            _MOST, found, key=lambda document: derive(self.seed, "judge", document.id)
        )


@dataclass(frozen=True)
class LateBlocks:
    """The blocks of the select phase, made in the process that needs them."""

    at: Workspace
    judged: str
    quality: QualityStep | None
    exams: Exams | None
    seed: int

    def __call__(self) -> list[Block]:
        """Quality first: what it drops need not be searched."""
        blocks: list[Block] = []
        if self.quality:
            alpha = json.loads((self.at.quality / "alpha.json").read_text(encoding="utf-8"))
            judge = quality.block(QualityModel.load(self.at.quality), alpha, self.seed)
            blocks.append(partial(_if_from, self.judged, judge))
        if self.exams:
            blocks.append(Decontaminator(gram_index(self.exams), _counts(self.at)))
        return blocks


def _if_from(source: str, block: Block, document: Document) -> Document | Dropped:
    """Curated sources are trusted as they are."""
    return block(document) if document.source == source else document
