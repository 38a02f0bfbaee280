"""The tokenizer beside `tokenizers` and `tiktoken`: how fast it learns and encodes.

Run it with `jielong bench tokenizer runs/quickstart/prepare`. Learning stands beside
`tokenizers`, encoding beside both, on one vocabulary and the run's text. Each round measures all of
them in turn, so that they meet the same machine; the least of the rounds is what counts.
"""

import argparse
import itertools
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "true"

import tiktoken
import tokenizers
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers

from jielong.tokenizer.bpe import Tokenizer
from jielong.tokenizer.pieces import pattern
from jielong.tokenizer.special_tokens import SPELLINGS

MB = 1e6


def train_directly(texts: list[str], vocab_size: int) -> tokenizers.Tokenizer:
    """What a user of `tokenizers` would write."""
    backend = tokenizers.Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(pattern()), "isolated")
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([split, as_bytes])
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPELLINGS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return backend


def race(runners: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Seconds of each, the least of `rounds` in which all take turns."""
    times: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(rounds):
        for name, runner in runners.items():
            start = time.perf_counter()
            runner()
            times[name].append(time.perf_counter() - start)
    return {name: min(found) for name, found in times.items()}


def show(title: str, seconds: dict[str, float], size: float) -> None:
    """One line for each, and ours beside the best of the others."""
    print(f"\n{title}")
    for name, taken in seconds.items():
        print(f"  {name:24} {size / taken / MB:8.2f} MB/s")
    best = min(taken for name, taken in seconds.items() if name != "ours")
    print(f"  ours / the faster other: {best / seconds['ours']:.2f} times its speed")


def encoding(texts: list[str], ours: Tokenizer, title: str, rounds: int) -> None:
    """Encode one by one, then all at once."""
    with tempfile.TemporaryDirectory() as folder:
        ours.save(Path(folder) / "tokenizer.json")
        backend = tokenizers.Tokenizer.from_file(f"{folder}/tokenizer.json")
    # Only our own text is encoded: the plain cuts, not those that also know marked special tokens.
    split = pre_tokenizers.Split(Regex(pattern()), "isolated")
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([split, as_bytes])
    ranks = {piece: i for i, piece in enumerate(ours.token_bytes) if piece}
    other = tiktoken.Encoding("other", pat_str=pattern(), mergeable_ranks=ranks, special_tokens={})
    size = sum(len(text.encode()) for text in texts)
    expected = [encoded.ids for encoded in backend.encode_batch_fast(texts)]
    assert expected == ours.encode_batch(texts) == other.encode_ordinary_batch(texts)
    one_by_one = {
        "tokenizers": lambda: [backend.encode(text).ids for text in texts],
        "tiktoken": lambda: [other.encode_ordinary(text) for text in texts],
        "ours": lambda: [ours.encode(text) for text in texts],
    }
    at_once = {
        "tokenizers (batch_fast)": lambda: [e.ids for e in backend.encode_batch_fast(texts)],
        "tiktoken": lambda: other.encode_ordinary_batch(texts),
        "ours": lambda: ours.encode_batch(texts),
    }
    show(f"encoding {len(texts)} {title}, one by one", race(one_by_one, rounds), size)
    show(f"encoding {len(texts)} {title}, as a batch", race(at_once, rounds), size)


def main() -> None:
    """Learn, encode documents, encode short lines."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("prepared", type=Path, help="the directory of a prepare run")
    parser.add_argument("--vocab-size", type=int, default=4096)
    parser.add_argument("--mb", type=float, default=4.0, help="how much of the text to take")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    texts, left = [], options.mb * MB
    with (options.prepared / "documents" / "train.jsonl").open(encoding="utf-8") as file:
        for line in file:
            texts.append(json.loads(line)["text"])
            left -= len(texts[-1].encode())
            if left < 0:
                break
    size = sum(len(text.encode()) for text in texts)
    print(f"{size / MB:.1f} MB, {options.vocab_size} entries, {os.cpu_count()} cores")
    print(f"tokenizers {tokenizers.__version__}, tiktoken {tiktoken.__version__}")
    learning = {
        "tokenizers": lambda: train_directly(texts, options.vocab_size),
        "ours": lambda: Tokenizer.train(texts, options.vocab_size),
    }
    seconds = race(learning, options.rounds)
    print(f"\nlearning: tokenizers {seconds['tokenizers']:.2f} s, ours {seconds['ours']:.2f} s")
    print(f"  ours takes {seconds['ours'] / seconds['tokenizers']:.2f} times as long")
    ours = Tokenizer.train(texts, options.vocab_size)
    encoding(texts, ours, "documents", options.rounds)
    lines = itertools.chain.from_iterable(text.splitlines() for text in texts)
    encoding([line[:80] for line in lines if line.strip()][:20_000], ours, "lines", options.rounds)


if __name__ == "__main__":
    main()
