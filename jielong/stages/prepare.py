"""Stage 1: real text, from pinned sources and the user's files, as clean documents.

The phases are those of `jielong/data/pipeline`; here they are given their settings and run in
order. The same recipe writes the same bytes with any number of workers, and after any kill.
"""

import json
import platform
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jielong.core import config as configs
from jielong.core.errors import DataError
from jielong.core.files import (
    atomic_writer,
    canonical_json,
    removing,
    sha256_file,
    sha256_json,
)
from jielong.core.progress import say
from jielong.core.run_dir import RunDir
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
from jielong.data.pipeline import evidence, figures, parts
from jielong.data.pipeline.assemble import Chosen, choose
from jielong.data.pipeline.engine import EngineConfig
from jielong.data.pipeline.inputs import FILES, Reader, lexicon_members, plan
from jielong.data.pipeline.late import (
    DecontaminationStep,
    Exams,
    QualityStep,
    gram_index,
    searched,
    stands_in,
)
from jielong.data.pipeline.outputs import dropped_line
from jielong.data.pipeline.phases import Pipeline
from jielong.data.pipeline.tally import Tally
from jielong.data.pipeline.workspace import WORK
from jielong.data.prepared import SIDES, read_lines
from jielong.data.readers.find import expand_home, find
from jielong.data.readers.options import FileOptions

_TOLD = 20  # rejected pieces of input that are shown at once


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
        for name, phase in self.phases.items():
            if not name.isidentifier():
                raise ValueError(f"phases: {name!r}: name a phase with letters, digits and _")
            self._check_names(f"phases.{name}.weights", phase.weights)
        if self.quality:
            self._check_names("quality.positives", self.quality.positives)

    def _check_names(self, where: str, given: Iterable[str]) -> None:
        known = [*self.sources, *([FILES] if self.files else [])]
        for name in given:
            if name not in known:
                raise ValueError(
                    f"{where}.{name}: no source of this recipe: choose from {', '.join(known)}"
                )


def run(config: PrepareConfig, *, resume: bool = False) -> Path:
    """Write documents/{train,valid}.jsonl and lexicon.json into the run directory."""
    chosen = [sources.lookup(name) for name in config.sources]
    fetched = fetch.fetch_all(chosen, _cache(config))
    planned = plan(chosen, fetched.paths, config.files, config.file_options)
    quality, exams, inputs = _late_rules(config)
    run_dir = RunDir.create(
        config.run_dir,
        stage="prepare",
        config=config,
        inputs=inputs,
        resume=resume,
        may_change=("engine",),
    )
    names = [*config.sources, FILES]
    pipeline = Pipeline(
        work=run_dir.path.resolve() / WORK,
        parts=planned,
        read=Reader(fetched.paths, config.file_options, Path.cwd()),
        blocks={name: _blocks(config, name) for name in names},
        names=names,
        judged=FILES,
        quality=quality,
        near=config.near,
        exams=exams,
        seed=config.seed,
        engine=config.engine,
    )
    seconds = pipeline.run()
    tally = pipeline.tally()
    _write_evidence(pipeline, run_dir.path)
    parts.write_hashes(planned, run_dir.path / "files.jsonl")
    caps = {name: source.max_mb * 1e6 for name, source in config.sources.items()}
    picked = choose(pipeline.catalogues(), names, caps, config.valid_share, config.seed)
    _refuse_an_empty_side(picked, tally)
    _write_sides(pipeline, picked, tally, run_dir.path)
    _write_lexicon(chosen, fetched.paths, exams, run_dir.path)
    phases = _write_phases(config, run_dir.path)
    report = figures.report(chosen, names, tally, config.file_options.licence)
    for name, reason in fetched.skipped.items():
        report[name]["skipped"] = reason
    found = {
        "python": platform.python_version(),
        "recipe_sha256": _recipe_hash(config),
        "sources": report,
        "funnel": figures.funnel(tally),
        "decontaminate": _searched(pipeline, exams),
        "phase_seconds": seconds,
        "phases": phases,
        "outputs": figures.hashes(run_dir.path),
    }
    with removing(pipeline.work):  # aside first: half of it would look like work to go on with
        run_dir.finish(found)
    _announce(report, config, run_dir.path)
    return run_dir.path


def _late_rules(
    config: PrepareConfig,
) -> tuple[QualityStep | None, Exams | None, dict[str, Path]]:
    """The rules that read files of their own, with those files, which must not change meanwhile."""
    quality, exams = config.quality, None
    inputs: dict[str, Path] = {}
    if quality:
        files = _files(quality.negatives, "quality.negatives")
        quality = replace(quality, negatives=files)
        inputs |= {name: Path(name) for name in files}
    if config.decontaminate:
        files = _files(config.decontaminate.files, "decontaminate.files")
        masked = config.personal.kinds if config.personal else ()
        exams = Exams(config.decontaminate, files, masked)
        gram_index(exams)  # a file that cannot be read is told before anything is written
        inputs |= {name: Path(name) for name in files}
    return quality, exams, inputs


def _files(patterns: Sequence[str], key: str) -> tuple[str, ...]:
    return tuple(str(file.path) for file in find(_absolute(patterns, key)))


def _write_evidence(pipeline: Pipeline, folder: Path) -> None:
    """What was left out and why, before anything can be said of the rest."""
    evidence.write_dropped(pipeline, folder / "dropped")
    evidence.write_duplicates(pipeline, folder / "duplicates.jsonl")
    evidence.write_rejected(pipeline, folder / "rejected.jsonl")
    _tell_rejected(folder / "rejected.jsonl")


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


def _refuse_an_empty_side(picked: Chosen, tally: Tally) -> None:
    for side in SIDES:
        if not getattr(picked, side):
            left, read = len(picked.train) + len(picked.valid), tally.totals()["extracted"]
            rules = figures.dropped(tally).most_common(3)
            reasons = ", ".join(f"{count} by {rule}" for rule, count in rules)
            raise DataError(
                f"sources and files: {left} of {read} document(s) are left, which gives none for "
                f"{side}{f' (dropped: {reasons})' if reasons else ''}: add text, raise max_mb, or "
                "loosen the rule (see dropped/ and rejected.jsonl)"
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
            f"  {row.source:15} {row.size / 1e6:6.2f} MB, {row.share:6.1%} of the phase, "
            f"{row.epochs:.2f} epochs{many}"
        )


def _record(document: Document) -> dict[str, str]:
    return {name: getattr(document, name) for name in ("id", "text", "lang", "source")}


def _searched(pipeline: Pipeline, exams: Exams | None) -> dict[str, Any]:
    """What was looked for and found of evaluation items, and in which files they are."""
    if exams is None:
        return {}
    sets = searched(pipeline.at, exams)
    for name, found in sets.items():
        say(
            f"decontaminate: {name}: {found['searched']} of {found['items']} texts are long enough "
            f"to be looked for; {found['leaked']} stood in the corpus"
        )
    return {
        "sets": sets,
        "files": {Path(name).name: sha256_file(Path(name)) for name in exams.files},
    }


def _write_lexicon(
    chosen: Sequence[sources.Source],
    paths: Mapping[str, Path],
    exams: Exams | None,
    folder: Path,
) -> None:
    """The words that tasks are made of; no sentence of held-out text or of an exam among them."""
    is_leaked = partial(stands_in, gram_index(exams)) if exams else None
    records = read_lines(folder / "documents" / "valid.jsonl")
    held_out = "\n".join(line.record["text"] for line in records)
    with_stdlib = any(source.id == "stdlib" for source in chosen)
    parsed = corpus.parse(lexicon_members(chosen, paths), with_stdlib=with_stdlib)
    lexicon_build.build(parsed, held_out, is_leaked).save(folder / "lexicon.json")


def _tell_rejected(path: Path) -> None:
    """One line for each of the first pieces of input that could not be read."""
    count = 0
    for count, line in enumerate(read_lines(path), 1):
        if count <= _TOLD:
            say("not read: {file}: {offset}: {reason}".format_map(line.record))
    if count > _TOLD:
        say(f"not read: {count - _TOLD} more: see {path}")


def _recipe_hash(config: PrepareConfig) -> str:
    """What decides the bytes: every setting but where the work runs and where it is written."""
    values = configs.to_dict(config)
    return sha256_json({k: v for k, v in values.items() if k not in ("run_dir", "engine")})


def _announce(report: Mapping[str, Mapping[str, Any]], config: PrepareConfig, path: Path) -> None:
    for source, found in report.items():
        train, valid = found["train"], found["valid"]
        if found["extracted"]["documents"]:
            say(
                f"{source:15} {train['documents']:6,} documents, {train['bytes'] / 1e6:5.2f} MB to "
                f"train; {valid['documents']:4,} documents, {valid['bytes'] / 1e6:5.2f} MB held out"
            )
        elif "skipped" not in found and config.sources[source].max_mb:
            say(f"{source:15} gave no document")
    say(f"documents and lexicon are in {path}")
