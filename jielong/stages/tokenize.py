"""Tokenize: learn a vocabulary from the prepared text, then turn all of it into packed shards.

Text is streamed: learning reads the documents once, packing a second time, and never are they all
in memory.
"""

import hashlib
import itertools
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jielong.core.errors import DataError
from jielong.core.files import sha256_file
from jielong.core.progress import say
from jielong.core.run_dir import RunDir, open_finished
from jielong.data.shards import Shard
from jielong.tokenizer.bpe import Tokenizer
from jielong.tokenizer.pieces import Digits, Han

_AT_ONCE = 256  # documents encoded together


@dataclass(frozen=True, kw_only=True)
class TokenizeConfig:
    """`documents` is a prepare run; `vocab_size` the entries to learn.

    `han` cuts Chinese into characters or into runs in which merging may find words; `digits` is how
    many a token may hold; `sample_mb` how much text to learn from, in equal shares for each
    language (0: all of it, as it comes).
    """

    run_dir: str
    documents: str
    vocab_size: int = 4096
    han: Han = "characters"
    digits: Digits = 2
    sample_mb: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is no amount of text."""
        if self.sample_mb < 0:
            raise ValueError(f"sample_mb: {self.sample_mb}: must not be negative")


def run(config: TokenizeConfig, *, resume: bool = False) -> Path:
    """Write the tokenizer's files, `train.npz`, `valid.npz` and a shard for each phase."""
    parent = open_finished(config.documents, "prepare")
    run = RunDir.create(
        config.run_dir,
        stage="tokenize",
        config=config,
        inputs={"documents": parent.path},
        resume=resume,
    )
    files = {name: parent.path / "documents" / f"{name}.jsonl" for name in ("train", "valid")}
    say(f"tokenize -> {run.path}: learning {config.vocab_size} tokens")
    texts = (record["text"] for record in sample(files["train"], config.sample_mb))
    tokenizer = Tokenizer.train(texts, config.vocab_size, config.han, config.digits)
    tokenizer.save(run.path)
    derived: dict[str, Any] = {
        "tokenizer_sha256": sha256_file(run.path / "tokenizer.json"),
        **tokenizer.describe(),
    }
    shards = {name: pack(file, tokenizer) for name, file in files.items()}
    for name in parent.manifest.get("phases", {}):
        order = np.load(parent.path / "phases" / f"{name}.npy")
        shards[f"phase-{name}"] = shards["train"].take(order)
    for name, shard in shards.items():
        shard.save(run.path / f"{name}.npz")
        derived[name] = {
            "documents": len(shard.starts),
            "tokens": len(shard.tokens),
            "bytes": int(shard.text_bytes.sum()),
            "sha256": sha256_file(run.path / f"{name}.npz"),
        }
    run.finish(derived | {"phases": list(parent.manifest.get("phases", {}))})
    return run.path


def sample(file: Path, sample_mb: float) -> Iterator[dict[str, str]]:
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


def pack(file: Path, tokenizer: Tokenizer) -> Shard:
    """The documents of `file` as ids, one after the other."""
    languages: list[str] = []
    sizes: list[int] = []

    def documents() -> Iterator[list[int]]:
        records = _read(file)
        while batch := list(itertools.islice(records, _AT_ONCE)):
            languages.extend(record["lang"] for record in batch)
            sizes.extend(len(record["text"].encode()) for record in batch)
            yield from tokenizer.encode_batch([record["text"] for record in batch])

    # The two lists are filled while `pack` draws the documents, and read by it afterwards.
    return Shard.pack(documents(), tokenizer.special.bos, languages, sizes)


def _digest(record: dict[str, str]) -> bytes:
    return hashlib.sha256(f"sample\x1f{record['id']}".encode()).digest()[:16]


def _read(file: Path) -> Iterator[dict[str, str]]:
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
