"""Tokenize: learn a vocabulary from the prepared text, then turn all of it into packed shards.

Text is streamed: learning reads the documents once, encoding a second time, and never are they all
in memory. Encoding is a phase of tasks, as those of `prepare` are: a share of a file each, fixed by
the file, so that the shards are the same wherever the tasks run.
"""

import hashlib
import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jielong.core.config import check_positive
from jielong.core.errors import DataError
from jielong.core.files import removing, sha256_file
from jielong.core.progress import say
from jielong.core.run_dir import RunDir, open_finished
from jielong.data.pipeline.engine import EngineConfig, run_phase
from jielong.data.pipeline.workspace import WORK
from jielong.data.prepared import SIDES, read_lines
from jielong.data.shards import Shard, join
from jielong.tokenizer.bpe import Tokenizer
from jielong.tokenizer.pieces import Digits, Han

_AT_ONCE = 256  # documents encoded together
_KEYS = ("id", "text", "lang")


@dataclass(frozen=True, kw_only=True)
class TokenizeConfig:
    """`documents` is a prepare run; `vocab_size` the entries to learn.

    `han` cuts Chinese into characters or into runs in which merging may find words; `digits` is how
    many a token may hold; `sample_mb` how much text to learn from, in equal shares for each
    language (0: all of it, as it comes). A task encodes about `part_mb`.
    """

    run_dir: str
    documents: str
    vocab_size: int = 4096
    han: Han = "characters"
    digits: Digits = 2
    sample_mb: float = 0.0
    part_mb: float = 32.0
    engine: EngineConfig = field(default_factory=EngineConfig)

    def __post_init__(self) -> None:
        """Refuse what is no amount of text."""
        check_positive(self, "part_mb")
        if self.sample_mb < 0:
            raise ValueError(f"sample_mb: {self.sample_mb}: must not be negative")


def run(config: TokenizeConfig, *, resume: bool = False) -> Path:
    """Write the tokenizer's files, and the shards `train`, `valid` and one for each phase."""
    parent = open_finished(config.documents, "prepare")
    run = RunDir.create(
        config.run_dir,
        stage="tokenize",
        config=config,
        inputs={"documents": parent.path},
        resume=resume,
        may_change=("engine",),
    )
    files = {name: parent.path / "documents" / f"{name}.jsonl" for name in SIDES}
    say(f"tokenize -> {run.path}: learning {config.vocab_size} tokens")
    texts = (record["text"] for record in sample(files["train"], config.sample_mb))
    tokenizer = Tokenizer.train(texts, config.vocab_size, config.han, config.digits)
    tokenizer.save(run.path)
    work = run.path.resolve() / WORK
    parts = [
        part for path in files.values() for part in cut(path.resolve(), round(config.part_mb * 1e6))
    ]
    encode = Encode(run.path.resolve(), work, tuple(parts))
    run_phase("tokenize: encode", encode, len(parts), work / "engine", config.engine)
    for name, path in files.items():
        mine = [n for n, part in enumerate(parts) if part.path == path.resolve()]
        join([Shard.load(encode.output(n)) for n in mine], run.path / f"{name}.npz")
    phases = list(parent.manifest.get("phases", ()))
    train = Shard.load(run.path / "train.npz")
    for name in phases:
        order = np.load(parent.path / "phases" / f"{name}.npy")
        train.save_taken(order, run.path / f"phase-{name}.npz")
    names = [*SIDES, *(f"phase-{name}" for name in phases)]
    found = {
        "tokenizer_sha256": sha256_file(run.path / "tokenizer.json"),
        **tokenizer.describe(),
        **{name: describe(run.path / f"{name}.npz") for name in names},
        "phases": phases,
    }
    with removing(work):
        run.finish(found)
    return run.path


def describe(path: Path) -> dict[str, Any]:
    """What the manifest tells of a shard."""
    shard = Shard.load(path)
    return {
        "documents": len(shard.starts),
        "tokens": len(shard.tokens),
        "bytes": int(shard.text_bytes.sum()),
        "sha256": sha256_file(path.with_suffix(".npy")),
        "index_sha256": sha256_file(path),
    }


def sample(file: Path, sample_mb: float) -> Iterator[dict[str, Any]]:
    """Documents of at most `sample_mb` in all, in equal shares for each language; 0: all of them.

    Which ones is decided by a digest of their ids, so the rest of the corpus has no say. A language
    that has less than its share gives all it has.
    """
    if not sample_mb:
        yield from _read(file)
        return
    sizes: dict[str, list[tuple[bytes, int]]] = defaultdict(list)
    for record in _read(file):
        sizes[record["lang"]].append((_digest(record), len(record["text"].encode())))
    chosen: set[bytes] = set()
    for found in sizes.values():
        left = sample_mb * 1e6 / len(sizes)
        for digest, size in sorted(found):
            if size <= left:
                chosen.add(digest)
                left -= size
    if not chosen:
        raise DataError(f"sample_mb: {sample_mb}: no document is that small: raise it")
    yield from (record for record in _read(file) if _digest(record) in chosen)


@dataclass(frozen=True)
class Share:
    """The whole lines of a file from the byte `start` up to `end`."""

    path: Path
    start: int
    end: int


def cut(path: Path, size: int) -> list[Share]:
    """Shares of about `size` bytes; at least one, which may be empty."""
    whole, shares = path.stat().st_size, []
    with path.open("rb") as file:
        start = 0
        while start < whole or not shares:
            file.seek(min(start + size, whole))
            file.readline()
            shares.append(Share(path, start, file.tell()))
            start = file.tell()
    return shares


@dataclass(frozen=True)
class Encode:
    """The work of one task: one share of the documents as ids, one document after the other."""

    tokenizer: Path
    work: Path
    parts: Sequence[Share]

    def output(self, task: int) -> Path:
        """The shard of one task."""
        return self.work / f"{task:05d}.npz"

    def __call__(self, task: int) -> None:
        """Encode part number `task`."""
        tokenizer, part = Tokenizer.load(self.tokenizer), self.parts[task]
        languages: list[str] = []
        sizes: list[int] = []

        def documents() -> Iterator[list[int]]:
            records = _records(part)
            while batch := list(itertools.islice(records, _AT_ONCE)):
                languages.extend(record["lang"] for record in batch)
                sizes.extend(len(record["text"].encode()) for record in batch)
                yield from tokenizer.encode_batch([record["text"] for record in batch])

        # The two lists are filled while `pack` draws the documents, and read by it afterwards.
        Shard.pack(documents(), tokenizer.special.bos, languages, sizes).save(self.output(task))


def _digest(record: dict[str, Any]) -> bytes:
    return hashlib.sha256(f"sample\x1f{record['id']}".encode()).digest()[:16]


def _read(file: Path) -> Iterator[dict[str, Any]]:
    return (line.record for line in read_lines(file, _KEYS))


def _records(part: Share) -> Iterator[dict[str, Any]]:
    for line in read_lines(part.path, _KEYS, part.start):
        if line.offset >= part.end:
            return
        yield line.record
