"""What is left beside the documents, from a whole run; no run has too many parts for it."""

import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from jielong.data.documents import Document
from jielong.data.minhash import NearConfig
from jielong.data.pipeline.assemble import choose
from jielong.data.pipeline.engine import EngineConfig
from jielong.data.pipeline.evidence import write_dropped, write_duplicates, write_rejected
from jielong.data.pipeline.parts import Part
from jielong.data.pipeline.phases import Pipeline

FEW_FILES = 40  # that a process may have open
MANY_PARTS = 45


def text(number: int, size: int) -> str:
    random = Random(number)
    return "".join(chr(random.randrange(0x4E00, 0x9F00)) for _ in range(size))


def document(key: str, text: str) -> Document:
    return Document(source="files", key=key, text=text, lang="zh", group=key)


def read(part: Part) -> Iterator[Document]:
    """A text of its own, the same once more, and nearly the text of the part before."""
    number = part.members
    yield document(f"{number}", text(number, 300))
    yield document(f"{number}/again", text(number, 300) + "。")
    if number:
        yield document(f"{number}/near", text(number - 1, 295))


LONG = 30_000  # characters, of two bytes in memory


def read_long(part: Part) -> Iterator[Document]:
    """Long texts, each twice."""
    for number in range(40):
        for end in ("", "。"):
            yield document(f"{part.members}/{number}{end}", f"{text(number, 10)}{'长' * LONG}{end}")


def pipeline(work: Path, parts: int, read: Callable[[Part], Iterator[Document]]) -> Pipeline:
    return Pipeline(
        work=work,
        parts=[Part(source="files", members=number) for number in range(parts)],
        read=read,
        blocks={"files": ()},
        names=("files",),
        judged="files",
        quality=None,
        near=NearConfig() if read is not read_long else None,
        exams=None,
        seed=0,
        engine=EngineConfig(workers=1),
    )


def write_all(folder: Path, run: Pipeline) -> None:
    run.run()
    chosen = choose(run.catalogues(), run.names, {}, 0.1, 0)
    with (folder / "documents.txt").open("w", encoding="utf-8") as file:
        file.writelines(f"{one.text}\n" for one in run.documents(chosen.train))
        file.writelines(f"{one.text}\n" for one in run.documents(chosen.valid))
    write_dropped(run, folder / "dropped")
    write_duplicates(run, folder / "duplicates.jsonl")
    write_rejected(run, folder / "rejected.jsonl")


CHILD = """
import os, resource, sys
from pathlib import Path
from tests.unit.data.pipeline import test_evidence as test
from jielong.data.pipeline import places

os.fsync = lambda _: None  # of thousands of small files none has to survive a power cut
places._OPEN = 8
resource.setrlimit(resource.RLIMIT_NOFILE, (test.FEW_FILES, test.FEW_FILES))
folder = Path(sys.argv[1])
test.write_all(folder, test.pipeline(folder / "work", test.MANY_PARTS, test.read))
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    folder = tmp_path_factory.mktemp("evidence")
    command = [sys.executable, "-c", CHILD, str(folder)]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return folder


def test_more_parts_than_files_may_be_open(written: Path) -> None:
    read = (written / "documents.txt").read_text(encoding="utf-8").splitlines()
    assert len(read) == MANY_PARTS
    assert len({one[:290] for one in read}) == MANY_PARTS
    assert (
        len((written / "dropped" / "select.jsonl").read_text("utf-8").splitlines())
        == 2 * MANY_PARTS - 1
    )
    assert (written / "rejected.jsonl").read_text("utf-8") == ""


def test_each_cluster_shows_the_document_that_stays(written: Path) -> None:
    read = (written / "documents.txt").read_text(encoding="utf-8").splitlines()
    lines = (written / "duplicates.jsonl").read_text(encoding="utf-8").splitlines()
    clusters = [json.loads(line) for line in lines]
    assert [each["kept"] for each in clusters] == sorted(each["kept"] for each in clusters)
    assert {each["text"] for each in clusters} == {one[:200] for one in read}
    assert sum(len(each["dropped"]) for each in clusters) == 2 * MANY_PARTS - 1
    repeats = [repeat for each in clusters for repeat in each["dropped"]]
    assert {repeat["kind"] for repeat in repeats} == {"exact", "near"}
    assert all(repeat["jaccard"] == 1 for repeat in repeats if repeat["kind"] == "exact")
    # 290 or 291 shingles of 296.
    assert {r["jaccard"] for r in repeats if r["kind"] == "near"} <= {0.98, 1.0}


def test_the_documents_that_stay_are_not_held_in_memory(tmp_path: Path) -> None:
    run = pipeline(tmp_path / "work", 1, read_long)
    run.run()
    tracemalloc.start()
    write_duplicates(run, tmp_path / "duplicates.jsonl")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len((tmp_path / "duplicates.jsonl").read_text(encoding="utf-8").splitlines()) == 40
    assert peak < 40 * 2 * LONG
