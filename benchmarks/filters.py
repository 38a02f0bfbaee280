"""How fast each cleaning step is on one processor, and what it drops.

Run `jielong bench filters DOCUMENTS.jsonl` with a prepare run's `documents/train.jsonl`.
Processor time, the best of three rounds.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from jielong.data.documents import Block, Document, Dropped
from jielong.data.filters import heuristics, language, personal, quality

TRAINED_ON = 600  # documents of each language
TIMED = 1000  # documents of each language, from the other end of the file


def read(path: Path) -> list[Document]:
    """The documents of a prepare run, each its own group."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [
        Document(source=r["source"], key=r["id"], text=r["text"], lang=r["lang"], group=r["id"])
        for r in rows
    ]


def seconds(step: Block, documents: Sequence[Document]) -> float:
    """The processor time of one pass."""
    start = time.process_time()
    for document in documents:
        step(document)
    return time.process_time() - start


def main() -> None:
    """Print a line for each step and language."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("documents", type=Path)
    documents = read(parser.parse_args().documents)
    by_language = {
        lang: [document for document in documents if document.lang == lang]
        for lang in sorted({document.lang for document in documents})
    }
    trusted = [d for lang in ("zh", "en") for d in by_language.get(lang, [])[:TRAINED_ON]]
    model = quality.train(trusted, (), seed=0)
    steps = {
        "language": language.block(language.LanguageConfig()),
        "heuristics": heuristics.block(heuristics.HeuristicsConfig()),
        "personal": personal.block(personal.PersonalConfig()),
        "quality": quality.block(model, 9.0, 0),
    }
    for name, step in steps.items():
        for lang, all_found in by_language.items():
            found = all_found[-TIMED:]
            size = sum(document.size_bytes for document in found) / 1e6
            rules = Counter(out.rule for out in map(step, found) if isinstance(out, Dropped))
            speed = size / min(seconds(step, found) for _ in range(3))
            dropped = sum(rules.values()) / len(found)
            common = ", ".join(f"{rule} {count}" for rule, count in rules.most_common(3))
            print(f"{name:10} {lang:5} {speed:6.1f} MB/s  dropped {dropped:6.2%}  {common}")
    for lang, found in model.languages.items():
        print(f"quality    {lang:5} area under the curve {found.auc:.4f} on held-out documents")


if __name__ == "__main__":
    main()
