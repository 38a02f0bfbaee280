"""`jielong data find`: building the index and asking it, beside reading the whole corpus each time.

`jielong bench passages RUN [COPIES]` takes a finished prepare run and measures on a copy of
its documents, and on them repeated COPIES times, a tenth of all words replaced in each repetition.
Times are of the processor, so that a busy machine changes them little.
"""

import json
import random
import re
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from jielong.core.files import sha256_file
from jielong.core.resources import peak_rss_bytes
from jielong.core.run_dir import RunDir
from jielong.data import passages
from jielong.data.dedup import comparison_form
from jielong.data.prepared import document_files, open_prepared, read_lines

UNIT = re.compile(r"[\u4e00-\u9fff]|[A-Za-z]+|.", re.DOTALL)
LENGTHS = (1, 2, 3, 5, 10, 40, 200)
ASKED = 20  # passages of each length


def seconds(work: Callable[[], object]) -> float:
    """Processor time of a call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def repeat(run: RunDir, path: Path, copies: int) -> RunDir:
    """The run's documents so many times, each time but the first altered."""
    draw = random.Random(0)
    (path / "documents").mkdir(parents=True)
    hashes = {}
    for file in document_files(run):
        records = [line.record for line in read_lines(file)]
        pool = [unit for record in records[:500] for unit in UNIT.findall(record["text"])]
        pool = [unit for unit in pool if unit.isalpha()]
        with (path / "documents" / file.name).open("w", encoding="utf-8") as copy:
            for number in range(copies):
                for record in records:
                    text = altered(record["text"], pool, draw) if number else record["text"]
                    line = {**record, "id": f"{number}-{record['id']}", "text": text}
                    copy.write(json.dumps(line, ensure_ascii=False) + "\n")
        hashes[f"documents/{file.name}"] = sha256_file(path / "documents" / file.name)
    manifest = {"stage": "prepare", "finished": True, "outputs": hashes}
    (path / "manifest.json").write_text(json.dumps(manifest))
    return open_prepared(path)


def altered(text: str, pool: list[str], draw: random.Random) -> str:
    """The text with a tenth of its words or Han characters replaced."""
    units = UNIT.findall(text)
    return "".join(draw.choice(pool) if u.isalpha() and draw.random() < 0.1 else u for u in units)


def scan(run: RunDir, passage: str) -> int:
    """The peer: read everything, compare as the index does."""
    form = comparison_form(passage)
    lines = (line for file in document_files(run) for line in read_lines(file))
    return sum(form in comparison_form(line.record["text"]) for line in lines)


def pieces(run: RunDir) -> dict[int, list[str]]:
    """Passages of each length, cut from documents at random."""
    draw = random.Random(1)
    lines = (line for file in document_files(run) for line in read_lines(file))
    texts = [line.record["text"] for line in lines if draw.random() < 0.05]
    found: dict[int, list[str]] = {length: [] for length in LENGTHS}
    for length, cut in found.items():
        while len(cut) < ASKED:
            text = draw.choice(texts)
            start = draw.randrange(max(1, len(text) - length))
            if comparison_form(text[start : start + length]):
                cut.append(text[start : start + length])
    return found


def absent(run: RunDir) -> list[str]:
    """Words of 4 to 10 letters that stand nowhere, though each three of their letters do."""
    draw = random.Random(2)
    following: dict[str, list[str]] = defaultdict(list)
    starts: list[str] = []
    for file in document_files(run):
        for line in read_lines(file):
            if draw.random() < 0.05 and line.record["lang"] == "en":
                form = comparison_form(line.record["text"])
                starts.append(form[:2])
                for i in range(len(form) - 2):
                    following[form[i : i + 2]].append(form[i + 2])
    found: list[str] = []
    while len(found) < ASKED:
        word, length = draw.choice(starts), draw.randrange(4, 11)
        while len(word) < length and word[-2:] in following:
            word += draw.choice(following[word[-2:]])
        if len(word) == length and not passages.find(run, word, 1).hits:
            found.append(word)
    return found


def measure(run: RunDir) -> None:
    """Print what building costs, and the time of a search for passages of each length."""
    size = sum(file.stat().st_size for file in document_files(run))
    built = seconds(lambda: passages.build(run))
    index = (run.path / passages.INDEX).stat().st_size
    print(f"{size / 1e6:.1f} MB: built in {built:.1f} s, {size / 1e6 / built:.1f} MB/s; ", end="")
    print(f"index {index / 1e6:.1f} MB, {index / size:.2f} of the documents")
    asked = {f"{length} characters": cut for length, cut in pieces(run).items()}
    asked["absent words"] = absent(run)
    scanned = seconds(lambda: scan(run, asked["40 characters"][0]))
    print(f"  reading everything: {1000 * scanned:.0f} ms a search")
    for name, cut in asked.items():
        times = sorted(seconds(lambda p=p: passages.find(run, p, 10)) for p in cut)
        median = statistics.median(times)
        print(
            f"  {name:14}: median {1000 * median:5.1f} ms, slowest "
            f"{1000 * times[-1]:5.1f} ms, {scanned / median:5.0f} times faster than reading"
        )


def main() -> None:
    """Measure on the run and on its altered repetition."""
    run, copies = open_prepared(Path(sys.argv[1])), int((sys.argv[2:] or ["7"])[0])
    with tempfile.TemporaryDirectory() as folder:
        for number in (1, copies):
            measure(repeat(run, Path(folder) / str(number), number))
    print(f"peak memory {peak_rss_bytes() / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
