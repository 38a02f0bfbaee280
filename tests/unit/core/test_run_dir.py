import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from jielong.core.config import dumps
from jielong.core.errors import RunDirectoryError, StorageError
from jielong.core.files import sha256_file
from jielong.core.run_dir import RunDir, open_finished, open_run, read_metrics


@dataclass(frozen=True, kw_only=True)
class Config:
    steps: int = 3


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "words.txt"
    path.write_text("春风", encoding="utf-8")
    return path


def create(tmp_path: Path, source: Path, **changes: object) -> RunDir:
    arguments: dict = {"stage": "pretrain", "config": Config(), "inputs": {"words": source}}
    return RunDir.create(tmp_path / "run", **arguments | changes)


def test_a_new_run_records_what_made_it(tmp_path: Path, source: Path) -> None:
    run = create(tmp_path, source)
    assert (run.path / "config.toml").read_text() == dumps(Config())
    manifest = json.loads((run.path / "manifest.json").read_text())
    assert manifest["stage"] == "pretrain"
    assert manifest["finished"] is False
    assert manifest["inputs"] == {"words": sha256_file(source)}
    assert set(manifest["versions"]) == {"torch", "tokenizers", "numpy"}
    assert {"commit", "dirty", "command"} <= set(manifest)


def test_a_run_that_is_there_is_not_overwritten(tmp_path: Path, source: Path) -> None:
    before = create(tmp_path, source).manifest
    with pytest.raises(RunDirectoryError, match="already holds a pretrain run: add --resume"):
        create(tmp_path, source)
    assert open_run(tmp_path / "run").manifest == before


def test_an_unfinished_run_is_resumed(tmp_path: Path, source: Path) -> None:
    first = create(tmp_path, source)
    first.log({"step": 1})
    again = create(tmp_path, source, resume=True)
    assert again.manifest == first.manifest
    assert read_metrics(again.path) == [{"step": 1}]


def test_resume_of_nothing_starts_a_run(tmp_path: Path, source: Path) -> None:
    assert create(tmp_path, source, resume=True).finished is False


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config": Config(steps=4)}, "was started with another configuration"),
        ({"stage": "sft"}, "was started with another configuration"),
    ],
)
def test_resume_with_other_settings_is_refused(
    tmp_path: Path, source: Path, changes: dict, message: str
) -> None:
    create(tmp_path, source)
    with pytest.raises(RunDirectoryError, match=message):
        create(tmp_path, source, resume=True, **changes)


def test_what_may_change_is_no_other_configuration(tmp_path: Path, source: Path) -> None:
    first = create(tmp_path, source)
    other = {"resume": True, "config": Config(steps=4)}
    again = create(tmp_path, source, **other, may_change=("steps",))
    assert again.manifest == first.manifest
    with pytest.raises(RunDirectoryError, match="another configuration"):
        create(tmp_path, source, **other, may_change=("seed",))


@pytest.mark.parametrize("content", [None, b"steps = ", b"\xff"])
def test_a_damaged_configuration_is_another(
    tmp_path: Path, source: Path, content: bytes | None
) -> None:
    file = create(tmp_path, source).path / "config.toml"
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(RunDirectoryError, match="another configuration"):
        create(tmp_path, source, resume=True)


def test_what_a_kill_left_half_written_is_no_run_and_is_removed(
    tmp_path: Path, source: Path
) -> None:
    (tmp_path / "run").mkdir()
    half = tmp_path / "run" / ".config.toml.77.tmp"
    half.write_text("st")
    create(tmp_path, source)
    assert not half.exists()
    half = tmp_path / "run" / "documents" / ".train.jsonl.77.tmp"
    half.parent.mkdir()
    half.write_text("st")
    create(tmp_path, source, resume=True)
    assert not half.exists()


def test_in_a_folder_that_is_no_run_nothing_is_touched(tmp_path: Path, source: Path) -> None:
    theirs = [tmp_path / "run" / name for name in (".draft.tmp", "notes/.a.txt.5.tmp")]
    for file in theirs:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("mine")
    for resume in (False, True):
        with pytest.raises(RunDirectoryError, match="holds files but no run"):
            create(tmp_path, source, resume=resume)
    assert [file.read_text() for file in theirs] == ["mine", "mine"]


def test_resume_with_a_changed_input_is_refused(tmp_path: Path, source: Path) -> None:
    create(tmp_path, source)
    source.write_text("秋风", encoding="utf-8")
    with pytest.raises(RunDirectoryError, match=r"input words \(.*\) has changed"):
        create(tmp_path, source, resume=True)


def test_a_finished_run_is_not_resumed(tmp_path: Path, source: Path) -> None:
    create(tmp_path, source).finish({"tokens": 5})
    manifest = open_run(tmp_path / "run").manifest
    assert (manifest["finished"], manifest["tokens"]) == (True, 5)
    with pytest.raises(RunDirectoryError, match="finished: there is nothing to resume"):
        create(tmp_path, source, resume=True)


def test_a_parent_run_is_known_by_its_manifest(tmp_path: Path, source: Path) -> None:
    parent = create(tmp_path, source)
    parent.finish()
    child = RunDir.create(
        tmp_path / "child", stage="sft", config=Config(), inputs={"init": parent.path}
    )
    assert child.manifest["inputs"] == {"init": sha256_file(parent.path / "manifest.json")}


def test_a_missing_input_is_named_and_leaves_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="nowhere: no such file or run"):
        create(tmp_path, tmp_path / "nowhere")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("place", ["run", "run/below"])
def test_a_run_dir_that_is_a_file_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(StorageError, match=r"config\.toml: cannot be written .*another place"):
        RunDir.create(tmp_path / place, stage="sft", config=Config())


def test_open_finished_names_what_is_wrong(tmp_path: Path, source: Path) -> None:
    with pytest.raises(RunDirectoryError, match="not a run directory"):
        open_finished(tmp_path, "pretrain")
    with pytest.raises(RunDirectoryError, match="not a run directory"):
        open_finished(source, "pretrain")
    run = create(tmp_path, source)
    with pytest.raises(RunDirectoryError, match="has not finished: resume it first"):
        open_finished(run.path, "pretrain")
    run.finish()
    assert open_finished(run.path, "pretrain").path == run.path
    with pytest.raises(RunDirectoryError, match="is a pretrain run: give a sft run here"):
        open_finished(run.path, "sft")


@pytest.mark.parametrize("content", [b'{"stage": ', b"\xff\xfe", b"[]"])
def test_a_damaged_manifest_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(RunDirectoryError, match=r"manifest\.json: damaged"):
        open_run(tmp_path)


def test_a_full_disk_stops_the_log_in_one_line(tmp_path: Path, source: Path) -> None:
    run = create(tmp_path, source)
    run.metrics_path.mkdir()  # whatever the reason, the system refuses
    with pytest.raises(StorageError, match=r"metrics\.jsonl: cannot be written"):
        run.log({"step": 1})


def test_metrics_survive_a_cut_line(tmp_path: Path, source: Path) -> None:
    run = create(tmp_path, source)
    for step in (1, 2, 3):
        run.log({"step": step, "loss": step / 8, "note": "第一\u2028行"})
    with run.metrics_path.open("a") as file:
        file.write('{"step": 4, "lo')  # a kill in the middle of a line
    assert [metrics["step"] for metrics in read_metrics(run.path)] == [1, 2, 3]
    run.truncate_metrics(2)
    run.log({"step": 3})
    assert [metrics["step"] for metrics in read_metrics(run.path)] == [1, 2, 3]
    assert read_metrics(run.path)[0] == {"step": 1, "loss": 0.125, "note": "第一\u2028行"}
    assert read_metrics(tmp_path) == []
