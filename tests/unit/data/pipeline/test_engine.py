"""Tasks that fail, are killed, or were done before, on real worker processes."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from jielong.core.errors import ConfigError, DataError, WorkerLostError
from jielong.data.pipeline.engine import EngineConfig, run_phase

TWO = EngineConfig(workers=2)


@dataclass(frozen=True)
class Note:
    """Write down that a task ran; task 1 may do something else."""

    folder: Path
    then: str = ""

    def __call__(self, task: int) -> None:
        with (self.folder / f"{task}.txt").open("a") as file:
            file.write("x")
        if task == 1 and self.then == "refuse":
            raise DataError("task 1: cannot be read")
        if task == 1 and self.then == "die":
            os.kill(os.getpid(), signal.SIGKILL)


def ran(folder: Path) -> dict[str, str]:
    return {path.stem: path.read_text() for path in sorted(folder.glob("*.txt"))}


@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_runs_once_and_never_again(tmp_path: Path, workers: int) -> None:
    engine = EngineConfig(workers=workers)
    for _ in range(2):
        run_phase("notes", Note(tmp_path), 3, tmp_path / "engine", engine)
    assert ran(tmp_path) == {"0": "x", "1": "x", "2": "x"}


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_task_refused_is_told_and_the_rest_is_kept(tmp_path: Path, workers: int) -> None:
    engine = EngineConfig(workers=workers)
    with pytest.raises(DataError, match="task 1: cannot"):
        run_phase("notes", Note(tmp_path, "refuse"), 2, tmp_path / "engine", engine)
    run_phase("notes", Note(tmp_path), 2, tmp_path / "engine", engine)
    assert ran(tmp_path) == {"0": "x", "1": "xx"}


def test_a_worker_that_is_killed_ends_the_phase_with_a_word(tmp_path: Path) -> None:
    with pytest.raises(WorkerLostError, match="ended from outside, most often for want of memory"):
        run_phase("notes", Note(tmp_path, "die"), 2, tmp_path / "engine", TWO)
    run_phase("notes", Note(tmp_path), 2, tmp_path / "engine", TWO)
    assert ran(tmp_path)["1"] == "xx"


def test_slurm_needs_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    engine = EngineConfig(kind="slurm", slurm_partition="cpu")
    with pytest.raises(ConfigError, match="'slurm': there is no sbatch on this machine"):
        run_phase("notes", Note(tmp_path), 2, tmp_path / "engine", engine)


def test_ray_needs_an_address_that_is_one(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    engine = EngineConfig(kind="ray", ray_address="nowhere")
    with pytest.raises(ConfigError, match=r"^engine\.ray_address: 'nowhere': no Ray cluster"):
        run_phase("notes", Note(tmp_path), 2, tmp_path / "engine", engine)
