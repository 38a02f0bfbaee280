import json
import re
import shutil
from pathlib import Path

import pytest

from jielong.core.errors import DataError, RunDirectoryError
from jielong.evaluation import plots
from jielong.evaluation.report import render, write_report
from jielong.evaluation.report_data import gather
from tests.pages import Page

HEADINGS = (
    "Training time",
    "Loss",
    "Bits per byte",
    "Tasks",
    "Reward model",
    "PPO",
    "Over-optimisation",
    "Win rate",
    "Alignment tax",
    "Samples",
    "Lineage",
)


def read(path: Path) -> tuple[str, Page]:
    text = path.read_text(encoding="utf-8")
    return text, Page(text)


@pytest.fixture(scope="module")
def whole(quickstart: Path) -> tuple[str, Page]:
    return read(write_report(quickstart))


@pytest.fixture
def directory(quickstart: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(quickstart, tmp_path / "quick"))


def test_the_whole_page(quickstart: Path, whole: tuple[str, Page]) -> None:
    _, page = whole
    assert (quickstart / "report.html").exists()
    assert tuple(page.words["h2"][1:]) == HEADINGS  # the first is the verdict's
    shown = page.words["td"] + page.words["dd"] + page.words["text"]
    figures = {"2.412", "2.538", "0.733", "[0.712, 0.753]", "0.708", "14 min 44 s", "+0.025"}
    assert figures <= set(shown)
    assert "0123456789ab" in page.words["code"]
    assert page.tags.count("svg") == 9


def test_nothing_is_fetched_and_nothing_runs(whole: tuple[str, Page]) -> None:
    text, page = whole
    assert not {"script", "link", "iframe", "img", "object", "image"} & set(page.tags)
    assert all(link.startswith("#") for link in page.links)
    assert all(link[1:] in page.ids for link in page.links)
    assert "@import" not in text
    assert set(re.findall(r"url\(([^)]{2})", text)) <= {
        "#" + c for c in "abcdefghijklmnopqrstuvwxyz"
    }
    assert set(re.findall(r"https?://[\w./]+", text)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_texts_are_escaped(whole: tuple[str, Page]) -> None:
    text, page = whole
    assert "<script>" not in text
    assert "<script>alert(1)</script>" in page.words["div"]
    assert "Escape <b>this</b>" in page.words["span"]


def test_hostile_names_are_escaped(directory: Path) -> None:
    run = directory / '"><img src=x onerror=y> $\\frac$ 接龙'
    (directory / "ppo").rename(run)
    text, _ = read(write_report(run))
    assert "<img" not in text


def test_the_same_numbers_give_the_same_bytes(quickstart: Path) -> None:
    assert render(gather(quickstart)) == render(gather(quickstart))


def test_figures_take_their_colours_from_the_page(whole: tuple[str, Page]) -> None:
    text, _ = whole
    assert "c0de" not in text
    css = text[text.index("<style>") : text.index("</style>")]
    light, dark = css.split("prefers-color-scheme: dark")
    for variable in plots.COLOURS:
        assert f"--{variable}:" in light
        assert f"--{variable}:" in dark
    used = set(re.findall(r"var\(--([\w-]+)\)", text))
    defined = set(re.findall(r"--([\w-]+):", text))
    assert used <= defined


@pytest.mark.parametrize(
    ("missing", "headings"),
    [
        ("summary.json", {"Training time", "Bits per byte", "Tasks", "Win rate", "Alignment tax"}),
        ("evaluation", {"Samples"}),
        ("ppo ppo-ptx ppo-beta-0 evaluation/best_of_n.json", {"PPO", "Over-optimisation"}),
    ],
)
def test_what_is_missing_is_left_out(directory: Path, missing: str, headings: set[str]) -> None:
    for name in missing.split():
        path = directory / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    _, page = read(write_report(directory))
    assert [h for h in page.words["h2"] if h in HEADINGS] == [
        h for h in HEADINGS if h not in headings
    ]


def test_a_single_run(directory: Path) -> None:
    _, page = read(write_report(directory / "ppo"))
    assert page.words["h2"][1:] == ["PPO", "Over-optimisation", "Lineage"]
    _, page = read(write_report(directory / "pretrain"))
    assert page.words["h2"] == ["Loss", "Lineage"]
    assert read(write_report(directory / "prepare"))[1].words["h2"] == ["Lineage"]


def test_a_run_that_has_only_begun(directory: Path) -> None:
    run = directory / "ppo"
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text(lines[0] + lines[1][:20])
    _, page = read(write_report(run))
    assert "PPO" in page.words["h2"]


def test_bad_directories_are_named(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="neither a run nor a quickstart"):
        write_report(tmp_path / "nowhere")
    (directory / "evaluation" / "samples.json").write_text("[")
    with pytest.raises(DataError, match=r"samples\.json: damaged"):
        write_report(directory)


def test_a_metric_that_is_not_finite_is_shown_as_broken(directory: Path) -> None:
    run = directory / "ppo"
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 61, "kl_nats": float("nan"), "reward_mean": 1.0}) + "\n")
    _, page = read(write_report(run))
    assert "Something is broken" in page.words["h2"]
    assert "PPO: kl_nats is not finite" in page.words["li"]
