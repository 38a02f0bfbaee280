"""Stage 1: real text, from pinned sources and the user's files, as clean documents.

Every choice (which documents fit a cap, which are held out, in which order they stand) is a digest
of the seed and the document's id, so the same recipe writes the same bytes wherever it runs.
"""

import platform
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jielong.core.errors import DataError
from jielong.core.files import canonical_json, sha256_file, write_atomic
from jielong.core.progress import say
from jielong.core.run_dir import RunDir
from jielong.core.seeds import derive
from jielong.data import dedup, fetch, lexicon_build, sources
from jielong.data.clean import normalise
from jielong.data.documents import Document, Rejected
from jielong.data.extract import corpus
from jielong.data.funnel import Funnel
from jielong.data.readers.find import find
from jielong.data.readers.options import FileOptions
from jielong.data.readers.records import SOURCE as FILES
from jielong.data.readers.records import records


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """How much of one source to take, and where a copy of it lies if not in the cache."""

    max_mb: float
    path: str | None = None

    def __post_init__(self) -> None:
        if self.max_mb < 0:
            raise ValueError(f"max_mb: {self.max_mb}: must not be negative")


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """The recipe of this stage."""

    run_dir: str
    seed: int = 0
    sources: dict[str, SourceConfig] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    file_options: FileOptions = field(default_factory=FileOptions)
    valid_share: float = 0.055
    cache_dir: str = "~/.cache/jielong"
    offline: bool = False

    def __post_init__(self) -> None:
        if not self.sources and not self.files:
            raise ValueError("sources: empty: name a source, or give files of your own")
        if not 0 < self.valid_share < 1:
            raise ValueError(f"valid_share: {self.valid_share}: must lie between 0 and 1")


def run(config: PrepareConfig, *, resume: bool = False) -> Path:
    """Write documents/{train,valid}.jsonl and lexicon.json into the run directory."""
    chosen = [sources.lookup(name) for name in config.sources]
    members = _members(config, chosen)
    own = list(_own_documents(config))
    run_dir = RunDir.create(config.run_dir, stage="prepare", config=config, resume=resume)
    parsed = corpus.parse(members, with_stdlib="stdlib" in config.sources)
    funnel = Funnel()
    sides = _select([*parsed.documents(), *own], config, funnel)
    outputs = [run_dir.path / "lexicon.json"]
    held_out = "\n".join(document.text for document in sides["valid"])
    lexicon_build.build(parsed, held_out).save(outputs[0])
    for side, documents in sides.items():
        outputs.append(run_dir.path / "documents" / f"{side}.jsonl")
        _write(outputs[-1], documents, config.seed)
    report = {s.id: _terms(s) | _figures(s.id, funnel) for s in chosen}
    if own:
        report[FILES] = _figures(FILES, funnel)
    hashes = {p.relative_to(run_dir.path).as_posix(): sha256_file(p) for p in outputs}
    run_dir.finish({"python": platform.python_version(), "sources": report, "outputs": hashes})
    _announce(report, run_dir.path)
    return run_dir.path


def _select(
    documents: list[Document], config: PrepareConfig, funnel: Funnel
) -> dict[str, list[Document]]:
    """The documents of the train and valid sides, counted at every step."""
    funnel.count("extracted", documents)
    documents = _clean(documents)
    funnel.count("clean", documents)
    documents = dedup.exact(documents, ranks=[*config.sources, FILES])
    funnel.count("unique", documents)
    documents = _cap(documents, config)
    funnel.count("capped", documents)
    held_out = _held_out(documents, config)
    sides = {
        "train": [document for document in documents if document.id not in held_out],
        "valid": [document for document in documents if document.id in held_out],
    }
    for side, members in sides.items():
        if not members:
            raise DataError(
                f"sources and files: {len(documents)} document(s), which leaves none for {side}: "
                "add text, or raise max_mb"
            )
        funnel.count(side, members)
    return sides


def _members(config: PrepareConfig, chosen: Sequence[sources.Source]) -> dict[str, bytes]:
    copies = {
        name: Path(source.path).expanduser()
        for name, source in config.sources.items()
        if source.path is not None
    }
    cache = fetch.Cache(
        directory=Path(config.cache_dir).expanduser(), offline=config.offline, local_copies=copies
    )
    paths = fetch.fetch_all(chosen, cache)
    return {s.id: fetch.read_member(s, paths[s.id]) for s in chosen if s.id in paths}


def _own_documents(config: PrepareConfig) -> Iterator[Document]:
    """The user's own text; what of it cannot be read is told, and the rest is used."""
    for file in find(config.files):
        for record in records(file, config.file_options):
            if isinstance(record, Rejected):
                say(f"not read: {record.file}: {record.offset}: {record.reason}")
            else:
                # One long file is a corpus too, so its pieces may stand on either side.
                yield replace(record, group=record.key)


def _clean(documents: Iterable[Document]) -> list[Document]:
    cleaned = (replace(document, text=normalise(document.text)) for document in documents)
    return [document for document in cleaned if document.text]


def _cap(documents: Iterable[Document], config: PrepareConfig) -> list[Document]:
    """As many documents of each source as its cap allows, drawn by digest."""
    left = {name: source.max_mb * 1e6 for name, source in config.sources.items()}
    kept = []
    for document in sorted(documents, key=lambda d: derive(config.seed, "cap", d.id)):
        if document.source in left:
            if document.size_bytes > left[document.source]:
                continue
            left[document.source] -= document.size_bytes
        kept.append(document)
    return kept


def _held_out(documents: Iterable[Document], config: PrepareConfig) -> set[str]:
    """The ids of whole clusters of groups, per source at least `valid_share` of its bytes."""
    by_source: dict[str, list[Document]] = defaultdict(list)
    for document in documents:
        by_source[document.source].append(document)
    held_out: set[str] = set()
    for source, members in by_source.items():
        cluster_of = dedup.clusters(members)
        clusters: dict[str, list[Document]] = defaultdict(list)
        for document in members:
            clusters[cluster_of[document.group]].append(document)
        wanted = config.valid_share * sum(document.size_bytes for document in members)
        order = sorted(clusters, key=lambda name: derive(config.seed, "valid", source, name))
        for name in order[:-1]:  # one cluster stays for training, whatever its size
            if wanted <= 0:
                break
            held_out.update(document.id for document in clusters[name])
            wanted -= sum(document.size_bytes for document in clusters[name])
    return held_out


def _write(path: Path, documents: Iterable[Document], seed: int) -> None:
    lines = [
        canonical_json({"id": d.id, "text": d.text, "lang": d.lang, "source": d.source})
        for d in sorted(documents, key=lambda d: derive(seed, "order", d.id))
    ]
    write_atomic(path, "".join(f"{line}\n" for line in lines))


def _terms(source: sources.Source) -> dict[str, Any]:
    """What the source is and under which terms it came."""
    terms = {
        "licence": source.licence,
        "licence_class": source.licence_class,
        "attribution": source.attribution,
    }
    if source.archive is None:
        return terms
    archive = source.archive
    pin = {"pin": archive.pin, "file": archive.file, "sha256": archive.sha256}
    return {**terms, **pin, "member": source.member}


def _figures(source: str, funnel: Funnel) -> dict[str, Any]:
    reasons = {"clean": "empty", "unique": "duplicate", "capped": "over_cap"}
    return {
        "text_sha256": funnel.hashes.get(source),
        **{step: funnel.size(step, source) for step in ("extracted", "train", "valid")},
        "dropped": funnel.dropped(source, reasons),
    }


def _announce(report: dict[str, dict[str, Any]], path: Path) -> None:
    for source, figures in report.items():
        if figures["extracted"]["documents"]:
            train, valid = figures["train"], figures["valid"]
            say(
                f"{source:8} {train['documents']:6,} documents, {train['bytes'] / 1e6:5.2f} MB to "
                f"train; {valid['documents']:4,} documents, {valid['bytes'] / 1e6:5.2f} MB held out"
            )
    say(f"documents and lexicon are in {path}")
