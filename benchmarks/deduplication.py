"""Near-duplicates: ours beside datatrove's MinHash blocks, from JSON Lines to JSON Lines.

Both read the same documents, with copies planted that are edited at 5 % of their characters, and
write those that stay. datatrove runs three times: stock (words by spaCy and jieba, five of them a
shingle, 14 buckets of 8), stock with our units for words, which is a tokenizer without a
dictionary, and with our parameters (five characters, 80 buckets of 5). CPU seconds of one process,
stage by stage; its executor, which would only add to them, is left out.

    jielong bench deduplication [--mb 10] [--lang zh] [--documents FILE.jsonl]

needs `pip install datatrove 'xxhash<4' spacy jieba`. Without `--documents` the English text is
random lines of the standard library's docstrings and the Chinese text random words, so that no
document is like another unless it was planted.
"""

import argparse
import ast
import importlib.util
import json
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from datatrove.data import Document
from datatrove.pipeline.dedup.minhash import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.utils.logging import logger
from datatrove.utils.word_tokenizers import WordTokenizer, load_word_tokenizer

from jielong.data.clean import units
from jielong.data.minhash import NearConfig, band_keys
from jielong.data.near_duplicates import find, save_keys

PLANTED = 300
EDITED = 0.05
PART = 2000  # documents
CONFIG = NearConfig()
HAN = [chr(code) for code in range(0x4E00, 0x9F00)]


@dataclass
class Cutter(WordTokenizer):
    """A tokenizer that is one function."""

    cut: Callable[[str], list[str]]

    def __hash__(self) -> int:
        return id(self)

    def word_tokenize(self, text: str) -> list[str]:
        """The words of `text`."""
        return self.cut(text)

    def sent_tokenize(self, text: str) -> list[str]:
        """Not needed here."""
        raise NotImplementedError

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        """Not needed here."""
        raise NotImplementedError


def characters(text: str) -> list[str]:
    """The letters and digits, one by one."""
    return [character for character in text if character.isalnum()]


def docstring_lines() -> list[str]:
    """Every line of the standard library's docstrings that is long enough to say something."""
    lines: set[str] = set()
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("**/*.py")):
        if "site-packages" in path.parts or "test" in path.parts:
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):  # a sample of bad code
            continue
        kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        for node in ast.walk(tree):
            if isinstance(node, kinds) and (text := ast.get_docstring(node)):
                lines.update(line.strip() for line in text.splitlines() if len(line) > 30)
    return sorted(lines)


def english(random: Random, size: int) -> Iterator[str]:
    """Documents of random lines, `size` bytes in all."""
    lines = docstring_lines()
    while size > 0:
        text = "\n".join(random.choices(lines, k=random.randint(4, 60)))
        size -= len(text.encode())
        yield text


def chinese(random: Random, size: int) -> Iterator[str]:
    """Documents of random words, the first of them the most frequent, `size` bytes in all."""
    words = ["".join(random.choices(HAN, k=random.randint(1, 3))) for _ in range(20_000)]
    while size > 0:
        chosen = (words[int(20_000 ** random.random()) - 1] for _ in range(random.randint(60, 900)))
        text = "".join(word + random.choice(["", "", "", "，", "。"]) for word in chosen)
        size -= len(text.encode())
        yield text


def edited(random: Random, text: str) -> str:
    """`text` with some of its characters substituted, deleted or followed by a new one."""
    found = list(text)
    for place in random.sample(range(len(text)), round(EDITED * len(text))):
        new = random.choice(text)
        found[place] = random.choice([new, "", found[place] + new])
    return "".join(found)


def plant(texts: list[str], random: Random, path: Path) -> int:
    """Write the texts and, among them, copies of some; returns the bytes of text."""
    rows = [(f"{number}", text) for number, text in enumerate(texts)]
    chosen = [row for row in rows if len(row[1]) >= 200]
    chosen = random.sample(chosen, min(PLANTED, len(chosen)))
    rows += [(f"copy of {name}", edited(random, text)) for name, text in chosen]
    random.shuffle(rows)
    with path.open("w", encoding="utf-8") as file:
        for name, text in rows:
            file.write(json.dumps({"id": name, "text": text}, ensure_ascii=False) + "\n")
    return sum(len(text.encode()) for _, text in rows)


class Clock:
    """CPU seconds since the last look, by the name of what took them."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.last = time.process_time()

    def lap(self, name: str) -> None:
        """Note what was used since the last call."""
        now = time.process_time()
        self.seconds[name] = now - self.last
        self.last = now


def run_ours(corpus: Path, folder: Path) -> tuple[Clock, Path]:
    """Ours: keys part by part, to disk; then the search; then the documents that stay."""
    clock = Clock()
    parts: list[list[int]] = [[]]  # where each line begins
    texts: list[str] = []

    def finish() -> None:
        save_keys(folder / f"{len(parts)}.npy", band_keys(texts, CONFIG, 0))
        texts.clear()

    with corpus.open("rb") as file:
        position = 0
        for line in file:
            if len(texts) == PART:
                finish()
                parts.append([])
            parts[-1].append(position)
            position += len(line)
            texts.append(json.loads(line)["text"])
    finish()
    clock.lap("signatures")
    with corpus.open("rb") as file:

        def fetch(part: int, row: int) -> str:
            file.seek(parts[part][row])
            return json.loads(file.readline())["text"]

        keys = [folder / f"{number}.npy" for number in range(1, len(parts) + 1)]
        rank = np.arange(sum(map(len, parts)), dtype=np.uint32)
        gone = {each.document for each in find(keys, rank, fetch, CONFIG)}
    clock.lap("search")
    with corpus.open("rb") as file, (folder / "kept.jsonl").open("wb") as kept:
        for number, line in enumerate(file):
            if divmod(number, PART) not in gone:
                kept.write(line)
    clock.lap("filter")
    return clock, folder / "kept.jsonl"


def run_datatrove(
    corpus: Path, folder: Path, words: str | WordTokenizer, config: MinhashConfig
) -> tuple[Clock, Path]:
    """datatrove's four blocks, one after the other, once its dictionary is loaded."""
    load_word_tokenizer(words).word_tokenize("dictionary 词典")
    clock = Clock()

    def documents() -> Iterator[Document]:
        with corpus.open(encoding="utf-8") as file:
            for line in file:
                yield Document(**json.loads(line))

    signatures, buckets, clusters = (str(folder / name) for name in ("sig", "bucket", "remove"))
    MinhashDedupSignature(signatures, config, language=words).run(documents())
    clock.lap("signatures")
    for rank in range(config.num_buckets):
        MinhashDedupBuckets(signatures, buckets, config=config).run(
            rank=rank, world_size=config.num_buckets
        )
    clock.lap("buckets")
    MinhashDedupCluster(buckets, clusters, config=config).run()
    clock.lap("clusters")
    with (folder / "kept.jsonl").open("w", encoding="utf-8") as kept:
        for document in MinhashDedupFilter(clusters).run(documents()):
            row = {"id": document.id, "text": document.text}
            kept.write(json.dumps(row, ensure_ascii=False) + "\n")
    clock.lap("filter")
    return clock, folder / "kept.jsonl"


def names(path: Path) -> set[str]:
    """The ids in a file of documents."""
    with path.open(encoding="utf-8") as file:
        return {json.loads(line)["id"] for line in file}


def judge(corpus: Path, kept: Path) -> tuple[float, float]:
    """(recall, precision): of planted pairs one gone; of those gone, members of a planted pair."""
    everything = names(corpus)
    gone = everything - names(kept)
    pairs = [{name, name.removeprefix("copy of ")} for name in everything if " " in name]
    found = sum(bool(pair & gone) for pair in pairs)
    planted = set().union(*pairs)
    return found / len(pairs), len(gone & planted) / max(1, len(gone))


def peers(lang: str) -> dict[str, tuple[str | WordTokenizer, MinhashConfig]]:
    """The ways to run datatrove."""
    ours = MinhashConfig(
        n_grams=CONFIG.ngram, num_buckets=CONFIG.bands, hashes_per_bucket=CONFIG.rows
    )
    found: dict[str, tuple[str | WordTokenizer, MinhashConfig]] = {
        "datatrove, our units": (Cutter(units), MinhashConfig()),
        "datatrove, our parameters": (Cutter(characters), ours),
    }
    if all(importlib.util.find_spec(name) for name in ("spacy", "jieba")):
        stock = {"datatrove, stock": ({"en": "eng", "zh": "zho_Hani"}[lang], MinhashConfig())}
        return stock | found
    print("datatrove, stock: left out: pip install spacy jieba")
    return found


def main() -> None:
    """Print, for each language and each way, time, speed, what was found, and the ratio to ours."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=float, default=10.0, help="text to make, both languages")
    parser.add_argument("--lang", choices=["zh", "en"], help="this language alone")
    parser.add_argument("--documents", type=Path, help="JSON Lines with text and lang, instead")
    options = parser.parse_args()
    logger.remove()
    random = Random(0)
    for lang, make in (("zh", chinese), ("en", english)):
        if options.lang not in (None, lang):
            continue
        if options.documents:
            rows = map(json.loads, options.documents.open(encoding="utf-8"))
            texts = [row["text"] for row in rows if row["lang"] == lang]
        else:
            texts = list(make(random, int(options.mb / 2 * 1e6)))
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            corpus = folder / "corpus.jsonl"
            size = plant(texts, random, corpus) / 1e6
            print(f"\n{lang}: {len(texts)} documents and their copies, {size:.1f} MB")
            (folder / "ours").mkdir()
            clock, kept = run_ours(corpus, folder / "ours")
            ours = report("ours", clock, size, judge(corpus, kept))
            for label, (words, config) in peers(lang).items():
                place = folder / label
                place.mkdir()
                clock, kept = run_datatrove(corpus, place, words, config)
                seconds = report(label, clock, size, judge(corpus, kept))
                print(f"{'':27} ratio {seconds / ours:.1f}")


def report(label: str, clock: Clock, size: float, found: tuple[float, float]) -> float:
    """Print one line; returns the seconds."""
    total = sum(clock.seconds.values())
    stages = ", ".join(f"{name} {seconds:.2f}" for name, seconds in clock.seconds.items())
    print(
        f"{label:27} {total:7.2f} s {size / total:6.2f} MB/s  recall {found[0]:.3f} "
        f"precision {found[1]:.3f}  ({stages})",
        flush=True,
    )
    return total


if __name__ == "__main__":
    main()
