"""Tokenize: learn a vocabulary from the prepared text, then turn all of it into packed shards."""

import json
from dataclasses import dataclass
from pathlib import Path

from jielong.core.files import sha256_file
from jielong.core.progress import say
from jielong.core.run_dir import RunDir, open_finished
from jielong.data.shards import Shard
from jielong.tokenizer.bpe import Tokenizer


@dataclass(frozen=True, kw_only=True)
class TokenizeConfig:
    """`documents` is a prepare run; `vocab_size` the entries to learn."""

    run_dir: str
    documents: str
    vocab_size: int = 4096


def run(config: TokenizeConfig, *, resume: bool = False) -> Path:
    """Write `tokenizer.json`, `train.npz` and `valid.npz`; returns the run directory."""
    parent = open_finished(config.documents, "prepare")
    run = RunDir.create(
        config.run_dir,
        stage="tokenize",
        config=config,
        inputs={"documents": parent.path},
        resume=resume,
    )
    texts = {
        name: _read(parent.path / "documents" / f"{name}.jsonl") for name in ("train", "valid")
    }
    say(f"tokenize -> {run.path}: learning {config.vocab_size} tokens")
    tokenizer = Tokenizer.train((record["text"] for record in texts["train"]), config.vocab_size)
    tokenizer.save(run.path)
    derived = {"tokenizer_sha256": sha256_file(run.path / "tokenizer.json"), **tokenizer.describe()}
    for name, records in texts.items():
        documents = tokenizer.encode_batch([record["text"] for record in records])
        languages = [record["lang"] for record in records]
        sizes = [len(record["text"].encode()) for record in records]
        shard = Shard.pack(documents, tokenizer.special.bos, languages, sizes)
        shard.save(run.path / f"{name}.npz")
        derived[name] = {
            "documents": len(records),
            "tokens": len(shard.tokens),
            "bytes": sum(sizes),
            "sha256": sha256_file(run.path / f"{name}.npz"),
        }
    run.finish(derived)
    return run.path


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]
