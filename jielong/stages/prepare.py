"""Stage 1: real text, from pinned sources and the user's files, as clean documents.

The phases are those of `jielong/data/pipeline`; here they are given their settings and run in
order. The same recipe writes the same bytes with any number of workers, and after any kill.
"""

import json
import platform
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from jielong.core import config as configs
from jielong.core import json_lines
from jielong.core.errors import DataError
from jielong.core.files import atomic_writer, canonical_json, sha256_file, sha256_json
from jielong.core.progress import say
from jielong.core.run_dir import MANIFEST, RunDir
from jielong.core.seeds import derive
from jielong.data import fetch, lexicon_build, mixture, mojibake, sources
from jielong.data.clean import normalise
from jielong.data.documents import Block, Document, Dropped
from jielong.data.extract import corpus
from jielong.data.filters import heuristics, language, personal
from jielong.data.filters.heuristics import HeuristicsConfig
from jielong.data.filters.language import LanguageConfig
from jielong.data.filters.personal import PersonalConfig
from jielong.data.minhash import NearConfig
from jielong.data.mixture import PhaseConfig
from jielong.data.pipeline import evidence
from jielong.data.pipeline.assemble import Chosen, choose
from jielong.data.pipeline.engine import EngineConfig
from jielong.data.pipeline.inputs import FILES, Reader, lexicon_members, plan
from jielong.data.pipeline.late import DecontaminationStep, QualityStep, gram_index
from jielong.data.pipeline.outputs import dropped_line
from jielong.data.pipeline.phases import Pipeline
from jielong.data.pipeline.tally import Tally
from jielong.data.readers.find import expand_home
from jielong.data.readers.options import FileOptions

SIDES = ("train", "valid")
_TOLD = 20  # rejected pieces of input that are shown at once
_REPEAT, _CAP = "dropped.duplicate.", "dropped.over_cap"
_LATE = ("dropped.quality.", "dropped.decontaminate.")
_STEPS: tuple[tuple[str, str, Callable[[str], bool]], ...] = (
    ("extracted", "clean", lambda rule: not rule.startswith((_REPEAT, _CAP, *_LATE))),
    ("clean", "unique", lambda rule: rule.startswith(_REPEAT)),
    ("unique", "selected", lambda rule: rule.startswith(_LATE)),
    ("selected", "kept", lambda rule: rule == _CAP),
)
"""(what goes in, what comes out, the rules that drop on the way)"""


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
    language: LanguageConfig | None = None
    heuristics: HeuristicsConfig | None = None
    personal: PersonalConfig | None = None
    quality: QualityStep | None = None
    near: NearConfig | None = None
    decontaminate: DecontaminationStep | None = None
    phases: dict[str, PhaseConfig] = field(default_factory=dict)
    engine: EngineConfig = field(default_factory=EngineConfig)

    def __post_init__(self) -> None:
        if not self.sources and not self.files:
            raise ValueError("sources: empty: name a source, or give files of your own")
        if not 0 < self.valid_share < 1:
            raise ValueError(f"valid_share: {self.valid_share}: must lie between 0 and 1")
        for name in self.phases:
            if not name.isidentifier():
                raise ValueError(f"phases: {name!r}: name a phase with letters, digits and _")


def run(config: PrepareConfig, *, resume: bool = False) -> Path:
    """Write documents/{train,valid}.jsonl and lexicon.json into the run directory."""
    chosen = [sources.lookup(name) for name in config.sources]
    fetched = fetch.fetch_all(chosen, _cache(config))
    planned = plan(chosen, fetched.paths, config.files, config.file_options)
    quality, exams = config.quality, config.decontaminate
    if quality:
        quality = replace(quality, negatives=_absolute(quality.negatives, "quality.negatives"))
    if exams:
        exams = replace(exams, files=_absolute(exams.files, "decontaminate.files"))
        gram_index(exams)  # a file that cannot be read is told before anything is written
    run_dir = RunDir.create(config.run_dir, stage="prepare", config=config, resume=resume)
    names = [*config.sources, FILES]
    pipeline = Pipeline(
        work=run_dir.path.resolve() / "work",
        parts=planned,
        read=Reader(fetched.paths, config.file_options, Path.cwd()),
        blocks={name: _blocks(config, name) for name in names},
        names=names,
        judged=FILES,
        quality=quality,
        near=config.near,
        decontaminate=exams,
        seed=config.seed,
        engine=config.engine,
    )
    seconds = pipeline.run()
    caps = {name: source.max_mb * 1e6 for name, source in config.sources.items()}
    picked = choose(pipeline.catalogues(), names, caps, config.valid_share, config.seed)
    _refuse_an_empty_side(picked)
    tally = pipeline.tally()
    _write_sides(pipeline, picked, tally, run_dir.path)
    evidence.write_dropped(pipeline, run_dir.path / "dropped")
    evidence.write_duplicates(pipeline, run_dir.path / "duplicates.jsonl")
    evidence.write_rejected(pipeline, run_dir.path / "rejected.jsonl")
    _tell_rejected(run_dir.path / "rejected.jsonl")
    _write_lexicon(chosen, fetched.paths, run_dir.path)
    phases = _write_phases(config, run_dir.path)
    report = _report(chosen, names, tally, config.file_options.licence)
    for name, reason in fetched.skipped.items():
        report[name]["skipped"] = reason
    _remove(pipeline.work)
    run_dir.finish(
        {
            "python": platform.python_version(),
            "recipe_sha256": _recipe_hash(config),
            "sources": report,
            "funnel": _funnel(tally),
            "phase_seconds": seconds,
            "phases": phases,
            "outputs": _hashes(run_dir.path),
        }
    )
    _announce(report, run_dir.path)
    return run_dir.path


def _remove(work: Path) -> None:
    """All of it at once: half a work folder would look like one to go on with."""
    trash = work.with_name(".work-done")
    shutil.rmtree(trash, ignore_errors=True)
    work.rename(trash)
    shutil.rmtree(trash)


def _absolute(patterns: Sequence[str], key: str) -> tuple[str, ...]:
    """Patterns that mean the same wherever a worker stands."""
    return tuple(str(Path.cwd() / expand_home(pattern, key)) for pattern in patterns)


def _cache(config: PrepareConfig) -> fetch.Cache:
    copies = {
        name: expand_home(source.path, f"sources.{name}.path")
        for name, source in config.sources.items()
        if source.path is not None
    }
    directory = expand_home(config.cache_dir, "cache_dir")
    return fetch.Cache(directory=directory, offline=config.offline, local_copies=copies)


def _blocks(config: PrepareConfig, source: str) -> tuple[Block, ...]:
    """The cleaning steps of one source: the rules are for text that nobody has looked at yet."""
    blocks: list[Block] = [_spelling]
    if source == FILES:
        blocks.insert(0, _repaired)
        if config.language:
            blocks.append(language.block(config.language))
        if config.heuristics:
            blocks.append(heuristics.block(config.heuristics))
        if config.personal:
            blocks.append(personal.block(config.personal))
    return tuple(blocks)


def _repaired(document: Document) -> Document | Dropped:
    """Characters that were read in a wrong encoding, read again in the right one."""
    text = mojibake.repair(document.text)
    if document.text.strip() and not text.strip():
        return Dropped(document=document, rule="mojibake", detail="every line has lost bytes")
    return replace(document, text=text)


def _spelling(document: Document) -> Document | Dropped:
    """One spelling for what is one text."""
    document = replace(document, text=normalise(document.text))
    if document.text:
        return document
    return Dropped(document=document, rule="empty", detail="no character is left")


def _refuse_an_empty_side(picked: Chosen) -> None:
    for side in ("train", "valid"):
        if not getattr(picked, side):
            raise DataError(
                f"sources and files: {len(picked.train) + len(picked.valid)} document(s), which "
                f"leaves none for {side}: add text, or raise max_mb"
            )


def _write_sides(pipeline: Pipeline, picked: Chosen, tally: Tally, folder: Path) -> None:
    """Both sides in their order."""
    for side in SIDES:
        with atomic_writer(folder / "documents" / f"{side}.jsonl") as file:
            for document in pipeline.documents(getattr(picked, side)):
                tally.count(side, document)
                file.write(f"{canonical_json(_record(document))}\n".encode())
    with atomic_writer(folder / "dropped" / "over_cap.jsonl") as file:
        for document in pipeline.documents(picked.over_cap):
            tally.count("dropped.over_cap", document)
            detail = f"over {document.source}.max_mb"
            file.write(dropped_line(Dropped(document=document, rule="over_cap", detail=detail)))


def _write_phases(config: PrepareConfig, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """For each phase the documents to read, as line numbers of documents/train.jsonl."""
    if not config.phases:
        return {}
    records = list(_sizes(folder / "documents" / "train.jsonl"))
    ids, origins, sizes = (list(column) for column in zip(*records, strict=True))
    totals = Counter[str]()
    for origin, size in zip(origins, sizes, strict=True):
        totals[origin] += size
    report = {}
    for name, phase in config.phases.items():
        rows = mixture.table(phase, totals, f"phases.{name}")
        seed = derive(config.seed, "phase", name)
        numbers = mixture.order(rows, ids, origins, np.array(sizes), seed)
        with atomic_writer(folder / "phases" / f"{name}.npy") as file:
            np.save(file, numbers)
        _tell_phase(name, phase, rows)
        report[name] = [row._asdict() for row in rows]
    return report


def _sizes(path: Path) -> Iterator[tuple[str, str, int]]:
    """(id, source, bytes) of each document, without holding their texts."""
    with path.open("rb") as file:
        for line in file:
            record = json.loads(line)
            yield record["id"], record["source"], len(record["text"].encode())


def _tell_phase(name: str, phase: PhaseConfig, rows: Sequence[mixture.Drawn]) -> None:
    say(f"phase {name}: {phase.budget_mb:g} MB")
    for row in rows:
        many = ": more than 4 teach little that is new" if row.epochs > mixture.MOST_EPOCHS else ""
        say(
            f"  {row.source:8} {row.size / 1e6:6.2f} MB, {row.share:6.1%} of the phase, "
            f"{row.epochs:.2f} epochs{many}"
        )


def _record(document: Document) -> dict[str, str]:
    return {name: getattr(document, name) for name in ("id", "text", "lang", "source")}


def _write_lexicon(
    chosen: Sequence[sources.Source], paths: Mapping[str, Path], folder: Path
) -> None:
    """The words that tasks are made of; no sentence of the held-out text is among them."""
    records = json_lines.read(folder / "documents" / "valid.jsonl")
    held_out = "\n".join(record["text"] for _, record in records)
    with_stdlib = any(source.id == "stdlib" for source in chosen)
    parsed = corpus.parse(lexicon_members(chosen, paths), with_stdlib=with_stdlib)
    lexicon_build.build(parsed, held_out).save(folder / "lexicon.json")


def _tell_rejected(path: Path) -> None:
    """One line for each of the first pieces of input that could not be read."""
    rejected = [record for _, record in json_lines.read(path)]
    for record in rejected[:_TOLD]:
        say(f"not read: {record['file']}: {record['offset']}: {record['reason']}")
    if len(rejected) > _TOLD:
        say(f"not read: {len(rejected) - _TOLD} more: see {path}")


def _report(
    chosen: Sequence[sources.Source], names: Sequence[str], tally: Tally, licence: str
) -> dict[str, dict[str, Any]]:
    """The manifest's figures of every source; `licence` is what the user says of the files."""
    terms = {source.id: _terms(source) for source in chosen}
    terms[FILES] = {"licence": licence}
    return {
        name: terms.get(name, {}) | _figures(name, tally)
        for name in names
        if name != FILES or tally.documents[name, "extracted"]
    }


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
    return {**terms, **pin, "members": [path for part in source.parts for path in part.paths]}


def _figures(name: str, tally: Tally) -> dict[str, Any]:
    sizes = {step: tally.size(name, step) for step in ("extracted", "clean", "unique", *SIDES)}
    rules = {
        step.removeprefix("dropped."): tally.size(name, step)
        for step in tally.steps(name, "dropped.")
    }
    masked = {kind: count for (of, kind), count in sorted(tally.masked.items()) if of == name}
    return {"text_sha256": tally.text_sha256(name), **sizes, "dropped": rules, "masked": masked}


def _funnel(tally: Tally) -> list[dict[str, Any]]:
    """What each step let through, over all sources."""
    counts = Counter[str]()
    for (_, step), documents in tally.documents.items():
        counts[step] += documents
    counts["kept"] = sum(counts[side] for side in SIDES)
    rules = [step for step in sorted(counts) if step.startswith("dropped.")]
    report = []
    for before, after, belongs in _STEPS:
        dropped = {rule.removeprefix("dropped."): counts[rule] for rule in rules if belongs(rule)}
        report.append(
            {
                "name": after,
                "documents_in": counts[before],
                "documents_out": counts[after],
                "dropped": dropped,
            }
        )
    return report


def _recipe_hash(config: PrepareConfig) -> str:
    """What decides the bytes: every setting but where the work runs and where it is written."""
    values = configs.to_dict(config)
    return sha256_json({k: v for k, v in values.items() if k not in ("run_dir", "engine")})


def _hashes(folder: Path) -> dict[str, str]:
    outputs = [*folder.glob("*.json*"), *folder.glob("*/*.jsonl"), *folder.glob("*/*.npy")]
    names = {path.relative_to(folder).as_posix(): path for path in outputs}
    return {name: sha256_file(names[name]) for name in sorted(names) if name != MANIFEST}


def _announce(report: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    for source, figures in report.items():
        if figures["extracted"]["documents"]:
            train, valid = figures["train"], figures["valid"]
            say(
                f"{source:8} {train['documents']:6,} documents, {train['bytes'] / 1e6:5.2f} MB to "
                f"train; {valid['documents']:4,} documents, {valid['bytes'] / 1e6:5.2f} MB held out"
            )
    say(f"documents and lexicon are in {path}")
