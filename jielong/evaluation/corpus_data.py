"""What a corpus report is made of: one pass over a prepare run, however large.

Kept in memory are counts, one length a document, and the few documents that are shown. Which ones
are shown is decided by digests, so that the same run gives the same page.
"""

from __future__ import annotations

from array import array
from bisect import insort
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from jielong.core.errors import DataError, RunDirectoryError
from jielong.core.files import sha256_file
from jielong.core.progress import progress
from jielong.core.run_dir import MANIFEST, RunDir, open_finished
from jielong.core.seeds import derive
from jielong.data.prepared import DOCUMENT_KEYS, document_files, open_prepared, read_lines
from jielong.evaluation.text_measures import SCRIPTS, code_points, repeated_share, script_counts

T = TypeVar("T")

EXAMPLES = 5  # of each rule
REPETITIVE = 6
CLUSTERS = 6
REJECTS = 20
SHOWN = 400  # characters of a document that are kept to be shown

_DROPPED_KEYS = ("id", "source", "lang", "rule", "text")


@dataclass
class Cell:
    """What was kept of one source in one language."""

    documents: int = 0
    bytes: int = 0
    tokens: int = 0
    scripts: np.ndarray = field(default_factory=lambda: np.zeros(len(SCRIPTS), dtype=np.int64))


@dataclass(frozen=True, kw_only=True)
class Example:
    """A document to look at; `text` is its beginning."""

    id: str
    source: str
    lang: str
    bytes: int
    text: str
    detail: str = ""


@dataclass
class Rule:
    """What one rule dropped, from which sources, and some of it.

    Beside each example stands the document that was kept of the same source and is nearest in size.
    """

    documents: int = 0
    bytes: int = 0
    cells: Counter[tuple[str, str]] = field(default_factory=Counter)  # (source, language or "")
    examples: tuple[tuple[Example, Example | None], ...] = ()  # dropped, and kept beside it


@dataclass
class Clusters:
    """Groups of duplicates: one kept document and those dropped for it."""

    sizes: Counter[int] = field(default_factory=Counter)  # documents, the kept one included
    kinds: Counter[str] = field(default_factory=Counter)
    similarities: Counter[int] = field(default_factory=Counter)  # percent of near ones -> count
    largest: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Everything found in a prepare run; a part whose file is absent is None."""

    name: str
    manifest: Mapping[str, Any]
    cells: Mapping[tuple[str, str], Cell]
    sides: Mapping[str, Cell]  # by file: "train", "valid"
    lengths: Mapping[str, array[int]]  # language -> characters of each document
    repetitive: tuple[tuple[float, str, Example], ...]  # share, place, document; the worst first
    repeating: int  # documents of which more than half had stood in them before
    rules: Mapping[str, Rule]
    has_dropped: bool
    has_tokens: bool
    clusters: Clusters | None
    rejected: tuple[int, tuple[Mapping[str, Any], ...]] | None
    scores: Mapping[str, array[float]]  # "kept" and "dropped" quality scores

    @property
    def sources(self) -> Mapping[str, Mapping[str, Any]]:
        """The manifest's word on each source."""
        return self.manifest.get("sources") or {}

    @property
    def bytes(self) -> int:
        """All text that was kept."""
        return sum(cell.bytes for cell in self.cells.values())

    @property
    def documents(self) -> int:
        """All documents that were kept."""
        return sum(cell.documents for cell in self.cells.values())

    @property
    def tokens(self) -> int:
        """All tokens, 0 when no tokenize run is known."""
        return sum(cell.tokens for cell in self.cells.values())

    def languages(self) -> list[str]:
        """The languages, the largest first."""
        sizes = Counter[str]()
        for (_, lang), cell in self.cells.items():
            sizes[lang] += cell.bytes
        return sorted(sizes, key=lambda lang: (-sizes[lang], lang))

    def source_names(self) -> list[str]:
        """The manifest's sources in its order, then any others."""
        return list(dict.fromkeys([*self.sources, *sorted({source for source, _ in self.cells})]))


def gather(directory: Path, tokens: Path | None = None) -> Corpus:
    """Read a prepare run, or the one in a quickstart's directory.

    `tokens` is a tokenize run of it; without one, the run's neighbour `tokenize` is used if it was
    made of this very run. Raises `RunDirectoryError` and `DataError`.
    """
    run = open_prepared(directory)
    counts = _token_counts(run, tokens)
    rules, scores = _read_dropped(run)
    reading = _Reading(rules or {})
    files = document_files(run)
    with progress("reading, MB", sum(path.stat().st_size for path in files) / 1e6) as bar:
        for path in files:
            lengths, shown = counts.get(path.stem, iter(())), 0
            for line in read_lines(path, DOCUMENT_KEYS):
                place = f"documents/{path.name}:{line.number}"
                reading.take(line.record, path.stem, place, next(lengths, 0))
                if line.end - shown > 1e6:
                    bar.advance((line.end - shown) / 1e6)
                    shown = line.end
            bar.advance((path.stat().st_size - shown) / 1e6)
    path = run.path.resolve()
    return Corpus(
        name=f"{path.parent.name}/{path.name}",
        manifest=run.manifest,
        cells=reading.cells,
        sides=reading.sides,
        lengths=reading.lengths,
        repetitive=tuple(reading.repetitive.items()),
        repeating=reading.repeating,
        rules=_with_kept(rules, reading.kept) if rules is not None else _rules_of(run.manifest),
        has_dropped=rules is not None,
        has_tokens=bool(counts),
        clusters=_read_clusters(run.path / "duplicates.jsonl"),
        rejected=_read_rejected(run.path / "rejected.jsonl"),
        scores={side: scores[side] + reading.scores[side] for side in scores},
    )


class _Smallest(Generic[T]):
    """The items with the smallest keys of all that were offered."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.pairs: list[tuple[Any, T]] = []

    def offer(self, key: Any, item: T) -> None:  # noqa: ANN401 - anything with an order
        if len(self.pairs) < self.size or key < self.pairs[-1][0]:
            insort(self.pairs, (key, item), key=itemgetter(0))
            del self.pairs[self.size :]

    def items(self) -> Iterator[T]:
        return (item for _, item in self.pairs)


class _Reading:
    """What the pass over the documents has seen so far."""

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        self.cells: dict[tuple[str, str], Cell] = defaultdict(Cell)
        self.sides: dict[str, Cell] = defaultdict(Cell)
        self.lengths: dict[str, array[int]] = defaultdict(lambda: array("I"))
        self.scores = _no_scores()
        self.repeating = 0
        self.repetitive: _Smallest[tuple[float, str, Example]] = _Smallest(REPETITIVE)
        self.kept: dict[tuple[str, str], _Smallest[Example]] = {}
        self.wanted: dict[str, list[tuple[int, _Smallest[Example]]]] = defaultdict(list)
        for name, rule in rules.items():
            for example, _ in rule.examples:
                nearest: _Smallest[Example] = _Smallest(1)
                self.kept[name, example.id] = nearest
                self.wanted[example.source].append((example.bytes, nearest))

    def take(self, record: Mapping[str, Any], side: str, place: str, tokens: int) -> None:
        text, source, lang = record["text"], record["source"], record["lang"]
        size = len(text.encode(errors="surrogatepass"))
        codes = code_points(text)
        for cell in (self.cells[source, lang], self.sides[side]):
            cell.documents += 1
            cell.bytes += size
            cell.tokens += tokens
        self.cells[source, lang].scripts += script_counts(codes)
        self.lengths[lang].append(min(len(text), 2**32 - 1))
        _note_score(self.scores["kept"], record)
        example = _example(record, size)
        share = repeated_share(codes)
        self.repeating += share > 0.5
        self.repetitive.offer((-share, example.id), (share, place, example))
        for wanted, nearest in self.wanted.get(source, ()):
            nearest.offer((abs(size - wanted), example.id), example)


def _example(record: Mapping[str, Any], size: int) -> Example:
    return Example(
        id=record["id"],
        source=record["source"],
        lang=record["lang"],
        bytes=size,
        text=record["text"][:SHOWN],
        detail=str(record.get("detail") or ""),
    )


def _no_scores() -> dict[str, array[float]]:
    return {"kept": array("f"), "dropped": array("f")}


def _note_score(scores: array[float], record: Mapping[str, Any]) -> None:
    if isinstance(record.get("quality"), int | float):
        scores.append(record["quality"])


def _read_dropped(run: RunDir) -> tuple[dict[str, Rule] | None, dict[str, array[float]]]:
    """Every rule's drops, None when the run kept no list of them; and their scores.

    What another rule than the classifier's took had been kept by that one.
    """
    scores = _no_scores()
    files = sorted((run.path / "dropped").glob("*.jsonl"))
    if not files:
        return None, scores
    rules: dict[str, Rule] = defaultdict(Rule)
    examples: dict[str, _Smallest[Example]] = defaultdict(lambda: _Smallest(EXAMPLES))
    for path in files:
        for line in read_lines(path, _DROPPED_KEYS):
            record = line.record
            name, size = record["rule"], int(record.get("bytes") or 0)
            rule = rules[name]
            rule.documents += 1
            rule.bytes += size
            rule.cells[record["source"], record["lang"]] += 1
            key = (derive(0, "examples", record["id"]), record["id"])
            examples[name].offer(key, _example(record, size))
            _note_score(scores["dropped" if name.startswith("quality") else "kept"], record)
    for name, chosen in examples.items():
        rules[name].examples = tuple((example, None) for example in chosen.items())
    return dict(rules), scores


def _with_kept(
    rules: dict[str, Rule], kept: Mapping[tuple[str, str], _Smallest[Example]]
) -> dict[str, Rule]:
    for name, rule in rules.items():
        rule.examples = tuple(
            (example, next(kept[name, example.id].items(), None)) for example, _ in rule.examples
        )
    return rules


def _rules_of(manifest: Mapping[str, Any]) -> dict[str, Rule]:
    """What the manifest says of the drops, for a run without a list of them."""
    rules: dict[str, Rule] = defaultdict(Rule)
    for source, figures in (manifest.get("sources") or {}).items():
        for name, lost in figures.get("dropped", {}).items():
            if lost["documents"] or lost["bytes"]:
                rules[name].documents += lost["documents"]
                rules[name].bytes += lost["bytes"]
                rules[name].cells[source, ""] += lost["documents"]
    return dict(rules)


def _read_clusters(path: Path) -> Clusters | None:
    if not path.exists():
        return None
    clusters = Clusters()
    largest: _Smallest[Mapping[str, Any]] = _Smallest(CLUSTERS)
    for line in read_lines(path, ("kept", "text")):
        dropped = line.record.get("dropped") or ()
        clusters.sizes[1 + len(dropped)] += 1
        clusters.kinds[line.record.get("kind", "exact")] += 1
        if line.record.get("kind") == "near":
            alike = [d["jaccard"] for d in dropped if d.get("jaccard") is not None]
            clusters.similarities.update(int(100 * value) for value in alike)
        largest.offer((-len(dropped), line.record["kept"]), line.record)
    clusters.largest = tuple(largest.items())
    return clusters


def _read_rejected(path: Path) -> tuple[int, tuple[Mapping[str, Any], ...]] | None:
    if not path.exists():
        return None
    count, shown = 0, []
    for line in read_lines(path):
        count += 1
        if count <= REJECTS:
            shown.append(line.record)
    return count, tuple(shown)


def _token_counts(run: RunDir, tokens: Path | None) -> dict[str, Iterator[int]]:
    """Tokens of each document, in the order of each file of documents."""
    made_of = sha256_file(run.path / MANIFEST)
    neighbour = run.path.resolve().parent / "tokenize"
    if tokens is None and not (neighbour / MANIFEST).exists():
        return {}
    try:
        tokenized = open_finished(tokens or neighbour, "tokenize")
    except RunDirectoryError:
        if tokens is None:  # the neighbour is unfinished, or something else: nobody asked for it
            return {}
        raise
    if tokenized.manifest["inputs"].get("documents") != made_of:
        if tokens is None:
            return {}
        raise RunDirectoryError(
            f"{tokens}: was made from another text than {run.path}: give the tokenize run of that"
        )
    sides = [path.stem for path in document_files(run)]
    return {side: _shard_counts(tokenized, side) for side in sides if side in tokenized.manifest}


def _shard_counts(tokenized: RunDir, side: str) -> Iterator[int]:
    path = tokenized.path / f"{side}.npz"
    try:
        with np.load(path, allow_pickle=False) as shard:  # the tokens themselves stay on disk
            ends = [*shard["starts"], tokenized.manifest[side]["tokens"]]
    except Exception as error:  # noqa: BLE001 - zipfile and NumPy raise many kinds
        raise DataError(f"{path}: not a token shard ({error}): run tokenize anew") from None
    return iter(np.diff(ends).tolist())
