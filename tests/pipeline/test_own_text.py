"""The ten lines of `docs/*/own-text.md`, as a reader would follow them."""

import gzip
import json
from itertools import islice
from pathlib import Path

import pytest

from tests.architecture.test_docs import FENCE
from tests.pipeline.conftest import jielong
from tests.sentences import sentences
from tests.unit.data.filters.texts import chinese as prose

pytestmark = pytest.mark.pipeline


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_is_enough_to_bring_a_corpus(
    language: str, tmp_path: Path, repository: Path
) -> None:
    page = (repository / "docs" / language / "own-text.md").read_text(encoding="utf-8")
    recipe = next(block for name, block in FENCE.findall(page) if name == "toml")
    assert len(recipe.strip().splitlines()) <= 10
    (tmp_path / "mine.toml").write_text(recipe, encoding="utf-8")
    chinese, english = sentences("SIMPLIFIED"), sentences("ENGLISH")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "broken.txt").write_bytes(b"\0\1\2")
    (tmp_path / "notes" / "old.txt").write_bytes("".join(islice(chinese, 300)).encode("gb18030"))
    (tmp_path / "notes" / "new.md.gz").write_bytes(
        gzip.compress("\n".join(islice(english, 300)).encode())
    )
    (tmp_path / "books" / "deep").mkdir(parents=True)
    (tmp_path / "books" / "deep" / "book.txt").write_text("".join(islice(chinese, 300)))
    rows = [{"messages": [{"role": "user", "content": line}]} for line in islice(chinese, 40)]
    rows += [{"text": line} for line in islice(english, 40)]
    (tmp_path / "chats.jsonl").write_text("\n".join(map(json.dumps, [*reversed(rows)])))

    done = jielong("prepare", "mine.toml", cwd=tmp_path)
    assert "broken.txt: 0: a zero byte" in " ".join(done.stderr.split())
    made = tmp_path / "runs" / "mine" / "prepare" / "documents"
    lines = [line for file in made.glob("*.jsonl") for line in file.read_text().splitlines()]
    texts = [json.loads(line)["text"] for line in lines]
    assert sum(text in texts for text in (row["text"] for row in rows if "text" in row)) == 40
    assert sum(map(len, texts)) > 20_000


def test_the_recipe_with_every_filter_runs(tmp_path: Path, repository: Path) -> None:
    stories = [story.text for story in prose(120)]
    (tmp_path / "texts").mkdir()
    rows = [json.dumps({"text": text}) for text in [*stories, *stories[:5]]]
    (tmp_path / "texts" / "stories.jsonl").write_text("\n".join(rows), encoding="utf-8")
    (tmp_path / "exams").mkdir()
    items = json.dumps({"question": stories[7], "answer": "..."})
    (tmp_path / "exams" / "items.jsonl").write_text(items, encoding="utf-8")
    jielong(
        "prepare", repository / "recipes/own/prepare.toml", "phases.all.budget_mb=0.1", cwd=tmp_path
    )
    manifest = json.loads((tmp_path / "runs/own/prepare/manifest.json").read_text())
    dropped = manifest["sources"]["files"]["dropped"]
    assert dropped["duplicate.exact"]["documents"] == 5
    assert (
        stories[7][20:60] not in (tmp_path / "runs/own/prepare/documents/train.jsonl").read_text()
    )
