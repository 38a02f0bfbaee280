"""All filters of a recipe at once, on files with something planted for each."""

import json
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from jielong.core import config as configs
from jielong.core.errors import ConfigError, DataError
from jielong.data.documents import Dropped
from jielong.data.filters import heuristics
from jielong.data.filters.heuristics import HeuristicsConfig
from jielong.stages.prepare import PrepareConfig, run
from tests.planted import edited
from tests.unit.data.filters.texts import chinese

GERMAN = "Der alte Zimmermann ging jeden Morgen durch den Wald, und niemand wusste, wohin. " * 8
LEAKED = (
    "Which of the seven bridges did the ferryman cross before the bell rang for the second time, "
    "and what had the baker left under the third one?"
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 good stories, 8 of them again with 5 % of their characters edited, and special files."""
    folder = tmp_path_factory.mktemp("filters")
    texts = folder / "texts"
    texts.mkdir()
    good = heuristics.block(HeuristicsConfig())
    drafts = [document for document in chinese(60) if not isinstance(good(document), Dropped)]
    *stories, letter, essay = [document.text for document in drafts[:42]]
    for number, story in enumerate(stories):
        (texts / f"story-{number:02}.txt").write_text(story, encoding="utf-8")
    for number in range(8):
        copy = edited(Random(number), stories[number], 0.05)
        (texts / f"copy-{number:02}.txt").write_text(copy, encoding="utf-8")
    (texts / "german.txt").write_text(GERMAN, encoding="utf-8")
    (texts / "list.txt").write_text("- a\n- b\n" * 40, encoding="utf-8")
    mail = f"{letter}来信请寄 zhang.wei@mail.test-host.cn 就好。"
    (texts / "mail.txt").write_text(mail, encoding="utf-8")
    quoted = f"{essay}\n\n{LEAKED}"
    (texts / "quoted.txt").write_text(quoted, encoding="utf-8")
    (texts / "picture.png").write_bytes(b"\x89PNG\0\0")
    items = folder / "exam.jsonl"
    items.write_text(json.dumps({"question": LEAKED}) + "\n", encoding="utf-8")
    values: dict[str, Any] = {
        "run_dir": str(folder / "run"),
        "files": [str(texts)],
        "language": {},
        "heuristics": {},
        "personal": {},
        "near": {},
        "decontaminate": {"files": [str(items)]},
        "phases": {"twice": {"budget_mb": 0.05, "weights": {"files": 1.0}}},
        "engine": {"workers": 1},
    }
    return run(configs.parse(PrepareConfig, values))


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def dropped(run_dir: Path) -> dict[str, int]:
    manifest = json.loads((run_dir / "manifest.json").read_text())
    rules = manifest["sources"]["files"]["dropped"]
    return {rule: figures["documents"] for rule, figures in rules.items()}


def test_each_filter_takes_what_was_planted_for_it(prepared: Path) -> None:
    found = dropped(prepared)
    assert found.pop("duplicate.near") == 8
    assert found.pop("language.de") == 1
    [(rule, count)] = found.items()
    assert rule.startswith("heuristics.")
    assert count == 1


def test_what_is_left_is_clean(prepared: Path) -> None:
    documents = [
        d for side in ("train", "valid") for d in read(prepared / f"documents/{side}.jsonl")
    ]
    text = "\n".join(d["text"] for d in documents)
    assert len(documents) == 42  # 40 stories or their copies, the letter, the quotation
    assert "test-host" not in text
    assert "[邮箱]" in text
    assert "seven bridges" not in text
    assert "ferryman" not in text


def test_the_manifest_says_how_much_was_masked(prepared: Path) -> None:
    sources = json.loads((prepared / "manifest.json").read_text())["sources"]
    assert sources["files"]["masked"] == {"email": 1}


def test_steps_add_up(prepared: Path) -> None:
    steps = json.loads((prepared / "manifest.json").read_text())["funnel"]
    assert steps[0]["documents_in"] == 52
    for step in steps:
        assert step["documents_in"] - step["documents_out"] == sum(step["dropped"].values())
    for before, after in pairwise(steps):
        assert before["documents_out"] == after["documents_in"]
    assert steps[-1]["documents_out"] == 42


def test_clusters_and_rejected_input_are_written_down(prepared: Path) -> None:
    clusters = read(prepared / "duplicates.jsonl")
    assert len(clusters) == 8
    assert all(d["jaccard"] >= 0.45 for cluster in clusters for d in cluster["dropped"])
    [rejected] = read(prepared / "rejected.jsonl")
    assert rejected["file"].endswith("picture.png")


def test_a_phase_reads_the_training_documents_again_and_again(prepared: Path) -> None:
    lines = len(read(prepared / "documents/train.jsonl"))
    order = np.load(prepared / "phases/twice.npy")
    assert set(order.tolist()) == set(range(lines))
    [row] = json.loads((prepared / "manifest.json").read_text())["phases"]["twice"]
    assert len(order) == pytest.approx(row["epochs"] * lines, rel=0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"phases": {"only": {"budget_mb": 1.0, "weights": {"laws": 1.0}}}},
            r"^phases\.only\.weights\.laws: no source of this recipe: choose from files",
        ),
        ({"quality": {"positives": ["sanguo"]}}, r"^quality\.positives\.sanguo: no source"),
    ],
)
def test_a_source_that_is_not_there_is_named_before_anything_is_written(
    tmp_path: Path, settings: dict, message: str
) -> None:
    (tmp_path / "a.txt").write_text(chinese(1)[0].text, encoding="utf-8")
    values = {"run_dir": str(tmp_path / "run"), "files": [str(tmp_path / "a.txt")]}
    with pytest.raises(ConfigError, match=message):
        configs.parse(PrepareConfig, values | settings)


def test_why_nothing_is_left_is_told(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "list.txt").write_text("- a\n- b\n" * 40, encoding="utf-8")
    (tmp_path / "texts" / "picture.png").write_bytes(b"\x89PNG\0\0")
    values = {
        "run_dir": str(tmp_path / "run"),
        "files": [str(tmp_path / "texts")],
        "heuristics": {},
        "engine": {"workers": 1},
    }
    message = r"0 of 1 document\(s\) are left.*for train \(dropped: 1 by heuristics\."
    with pytest.raises(DataError, match=message):
        run(configs.parse(PrepareConfig, values))
    [rejected] = read(tmp_path / "run" / "rejected.jsonl")
    assert rejected["file"].endswith("picture.png")
    assert read(tmp_path / "run" / "dropped" / "extract.jsonl")


def test_an_item_in_many_copies_of_a_text_leaks_from_none(tmp_path: Path) -> None:
    """Copies go first; what is left of an item's phrases is then no common phrase."""
    (tmp_path / "texts").mkdir()
    stories = [story.text for story in chinese(30)]
    for number in range(15):
        text = f"{stories[0]}\n\n{LEAKED}\n\n{stories[1]}" if number else stories[2]
        (tmp_path / "texts" / f"{number:02}.txt").write_text(text, encoding="utf-8")
    for number, story in enumerate(stories[3:]):
        (tmp_path / "texts" / f"story-{number:02}.txt").write_text(story, encoding="utf-8")
    item = f"{LEAKED} Answer in one sentence, and say which of the guests could have known it."
    (tmp_path / "exam.jsonl").write_text(json.dumps({"question": item}), encoding="utf-8")
    values = {
        "run_dir": str(tmp_path / "run"),
        "files": [str(tmp_path / "texts")],
        "decontaminate": {"files": [str(tmp_path / "exam.jsonl")]},
        "engine": {"workers": 1},
    }
    made = run(configs.parse(PrepareConfig, values))
    sides = "".join((made / f"documents/{side}.jsonl").read_text() for side in ("train", "valid"))
    assert "ferryman" not in sides
    found = json.loads((made / "manifest.json").read_text())["decontaminate"]
    assert found["sets"] == {"exam": {"items": 1, "searched": 1, "leaked": 1}}
    assert list(found["files"]) == ["exam.jsonl"]


def test_no_sentence_of_an_exam_becomes_a_task(tmp_path: Path) -> None:
    def sentences(name: str, **settings: object) -> list[str]:
        values = {
            "run_dir": str(tmp_path / name),
            "sources": {"stdlib": {"max_mb": 0.1}},
            "engine": {"workers": 1},
        }
        made = run(configs.parse(PrepareConfig, values | settings))
        return [s["text"] for s in json.loads((made / "lexicon.json").read_text())["sentences"]]

    before = sentences("before")
    leaked = max(before, key=lambda text: len(text.split()))
    (tmp_path / "exam.jsonl").write_text(json.dumps({"question": leaked}), encoding="utf-8")
    after = sentences("after", decontaminate={"files": [str(tmp_path / "exam.jsonl")]})
    assert leaked not in after
    assert len(after) > 0.9 * len(before)
