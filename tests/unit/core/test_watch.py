import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from jielong.core.errors import ConfigError, RunDirectoryError
from jielong.core.run_dir import RunDir
from jielong.core.watch import Tail, current, points, watch


@dataclass(frozen=True, kw_only=True)
class Config:
    seed: int = 0


def run_dir(path: Path, stage: str = "test", steps: int = 0, **metrics: float) -> RunDir:
    run = RunDir.create(path, stage=stage, config=Config())
    for step in range(1, steps + 1):
        run.log({"step": step, "loss": 8 / step, **metrics})
    return run


def test_a_log_is_read_as_it_grows_and_anew_when_it_is_replaced(tmp_path: Path) -> None:
    run = run_dir(tmp_path / "run", steps=2)
    tail = Tail(run.metrics_path)
    assert [line["step"] for line in tail.read()] == [1, 2]
    run.log({"step": 3})
    with run.metrics_path.open("a") as file:
        file.write('{"step": 4, "lo')
    assert [line["step"] for line in tail.read()] == [1, 2, 3]
    with run.metrics_path.open("a") as file:
        file.write('ss": 1}\nhalf a line of a kill\n')
    assert [line["step"] for line in tail.read()] == [1, 2, 3, 4]
    run.truncate_logs(2)
    run.log({"step": 3, "loss": 9.0})
    assert [line["step"] for line in tail.read()] == [1, 2, 3]
    assert tail.read()[-1]["loss"] == 9.0
    assert Tail(tmp_path / "none").read() == []


def test_points_are_what_can_be_drawn() -> None:
    lines = [
        {"step": 1, "loss": 2},
        {"step": 2, "loss": float("nan")},
        {"step": 3},
        {"loss": 1.0},
        {"step": 4, "loss": "?"},
    ]
    assert points(lines, "loss") == [(1.0, 2.0)]


def test_once_draws_what_there_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_dir(tmp_path / "run", "pretrain", steps=40, lr=0.5, items=3)
    run.sample({"step": 20, "prompt": "old", "text": "er"})
    run.sample({"step": 40, "prompt": "春天", "text": "来了\n[bold]"})
    run.note({"diverged": [{"step": 7, "reason": "loss is nan", "back_to": 5, "left_out": [7]}]})
    watch(run.path, once=True)
    shown = capsys.readouterr().out
    assert f"pretrain  {run.path}  step 40" in shown.replace("\n", "")
    assert "loss 0.2" in shown
    assert "8 " in shown  # the highest
    assert "lr 0.5" in shown
    assert "items" not in shown
    assert any(0x2800 < ord(c) < 0x2900 for c in shown)
    assert "step 7: loss is nan: back to 5" in shown
    assert "step 40: 春天|来了 [bold]" in shown
    assert "step 20" not in shown
    watch(run.path, ["items"], once=True)
    shown = capsys.readouterr().out
    assert "items 3" in shown
    assert "loss 0.2" not in shown
    with pytest.raises(ConfigError, match="--metric: los: choose among loss, lr, items"):
        watch(run.path, ["los"], once=True)
    with pytest.raises(RunDirectoryError, match="not a run directory"):
        watch(tmp_path / "none", once=True)


def test_a_stage_without_steps_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_dir(tmp_path / "run", "prepare")
    watch(run.path)
    assert "no step logged yet" in capsys.readouterr().out
    run.finish()
    watch(run.path)
    assert "stage logs no steps" in capsys.readouterr().out.replace("\n", "")


def test_a_quickstart_means_the_stage_that_it_is_at(tmp_path: Path) -> None:
    run_dir(tmp_path / "all", "quickstart")
    assert current(tmp_path / "all").manifest["stage"] == "quickstart"
    for place, stage in enumerate(("pretrain", "sft")):
        run = run_dir(tmp_path / "all" / stage, stage, steps=2)
        os.utime(run.metrics_path, (place, place))
    assert current(tmp_path / "all").manifest["stage"] == "sft"


def test_it_follows_a_run_until_that_has_finished(tmp_path: Path) -> None:
    """In a real terminal (a pseudo-terminal), beside a run that goes on."""
    run = run_dir(tmp_path / "run", steps=3)
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "jielong", "watch", str(run.path)]
    environment = os.environ | {"COLUMNS": "80", "LINES": "40", "TERM": "xterm"}
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    try:
        while b"step 3" not in shown:
            shown += os.read(ours, 65536)
        run.log({"step": 4, "loss": 1.25})
        while b"step 4" not in shown:
            shown += os.read(ours, 65536)
        run.finish()
        deadline = time.monotonic() + 60
        while process.poll() is None:
            assert time.monotonic() < deadline
            try:
                shown += os.read(ours, 65536)
            except OSError:  # it has closed its side
                break
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert process.returncode == 0
    assert b"finished" in shown
    assert json.loads((run.path / "manifest.json").read_text())["finished"]
