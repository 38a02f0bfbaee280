"""Where the work of a pipeline runs: local processes, a Ray cluster, or Slurm, by datatrove.

A phase is one picklable function of a task's number. How many tasks there are is fixed by the data,
never by the workers, and each task writes its own file whole or not at all: so the same recipe
writes the same bytes everywhere, and a killed run goes on with the tasks that are not finished.
"""

import json
import logging
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jielong.core import errors as errors_module
from jielong.core.errors import ConfigError, DataError, JielongError, StorageError, WorkerLostError
from jielong.core.files import write_atomic
from jielong.core.progress import Task, progress

_POLL_S = 2.0  # between two looks at Slurm's queue
_LOOK_S = 0.5  # between two looks at what is finished


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """`workers` tasks run at a time; 0 is one a core. Ray and Slurm need a shared file system."""

    kind: Literal["local", "ray", "slurm"] = "local"
    workers: int = 0
    ray_address: str = "auto"
    slurm_partition: str = ""
    slurm_time: str = "08:00:00"  # the limit of one task

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise ValueError(f"workers: {self.workers}: must not be negative")
        if self.kind == "slurm" and not self.slurm_partition:
            raise ValueError("slurm_partition: '': name the partition that tasks are sent to")


@dataclass(frozen=True)
class _Step:
    """The one step of a datatrove pipeline: our function, given the task's number."""

    work: Callable[[int], None]
    errors: Path

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Where a worker takes the step out of its parcel, before datatrove has said a word."""
        self.__dict__.update(state)
        _silence()

    def __call__(self, data: Any, rank: int, world_size: int) -> None:  # noqa: ANN401, ARG002
        try:
            self.work(rank)
        except JielongError as error:
            # Executors tell of a failed task, but not of why: the reason has to find its own way.
            _leave(error, self.errors / f"{rank:05d}.json")
            raise


def run_phase(
    title: str, work: Callable[[int], None], tasks: int, folder: Path, config: EngineConfig
) -> float:
    """Call `work(task)` for every task below `tasks` that `folder` does not show as done.

    Shows a bar with this title, and returns the seconds that it took. `folder` keeps datatrove's
    marks of finished tasks; it belongs to one phase of one run, whose settings and inputs must not
    change between calls. Raises what the first of the failing tasks raised, and `DataError` when
    tasks are missing for another reason.
    """
    began = time.monotonic()
    with progress(title, tasks) as bar, _following(bar, folder / "completions"):
        _run(work, tasks, folder, config)
    return round(time.monotonic() - began, 3)


def _run(work: Callable[[int], None], tasks: int, folder: Path, config: EngineConfig) -> None:
    _silence()
    errors = folder / "errors"
    shutil.rmtree(errors, ignore_errors=True)
    executor = _executor(_Step(work, errors), tasks, folder, config)
    if not executor.get_incomplete_ranks():
        return
    try:
        executor.run()
        if config.kind == "slurm":
            _wait(executor)
    except BrokenProcessPool:
        raise WorkerLostError(
            f"{folder}: a worker was ended from outside, most often for want of memory: run the "
            "same command with --resume, with fewer engine.workers"
        ) from None
    finally:
        for path in sorted(errors.glob("*.json")):
            raise _left(path) from None
    if missing := executor.get_incomplete_ranks():
        raise DataError(
            f"{folder}: {len(missing)} of {tasks} tasks did not finish (the first is "
            f"{missing[0]}): see {folder / 'logs'}, then run the same command with --resume"
        )


@contextmanager
def _following(bar: Task, marks: Path) -> Iterator[None]:
    """Move the bar with the marks of finished tasks, wherever it is that they run."""
    ended = threading.Event()

    def follow() -> None:
        shown = 0
        while True:
            last = ended.wait(_LOOK_S)
            done = len(list(marks.glob("*")))
            bar.advance(done - shown)
            shown = done
            if last:
                return

    watcher = threading.Thread(target=follow, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _leave(error: JielongError, path: Path) -> None:
    with suppress(StorageError):  # on a full disk the executor's own word has to do
        write_atomic(path, json.dumps({"kind": type(error).__name__, "message": str(error)}))


def _left(path: Path) -> JielongError:
    record = json.loads(path.read_text(encoding="utf-8"))
    return getattr(errors_module, record["kind"])(record["message"])


def _executor(step: _Step, tasks: int, folder: Path, config: EngineConfig) -> Any:  # noqa: ANN401
    workers = min(tasks, config.workers or os.cpu_count() or 1)
    common: dict[str, Any] = {"pipeline": [step], "tasks": tasks, "logging_dir": str(folder)}
    if config.kind == "ray":
        return _ray_executor(common, workers if config.workers else -1, config)
    if config.kind == "slurm":
        return _slurm_executor(common, config)
    from jielong.data.pipeline.local import LocalExecutor

    return LocalExecutor(**common, workers=workers)


def _slurm_executor(common: dict[str, Any], config: EngineConfig) -> Any:  # noqa: ANN401
    if missing := [name for name in ("sbatch", "squeue") if shutil.which(name) is None]:
        raise ConfigError(
            f"engine.kind: 'slurm': there is no {missing[0]} on this machine: run the command "
            "where Slurm's jobs are sent from"
        )
    from datatrove.executor.slurm import SlurmPipelineExecutor

    return SlurmPipelineExecutor(
        **common,
        workers=config.workers or -1,
        time=config.slurm_time,
        partition=config.slurm_partition,
        job_name="jielong",
    )


def _ray_executor(common: dict[str, Any], workers: int, config: EngineConfig) -> Any:  # noqa: ANN401
    try:
        import ray
        from datatrove.executor.ray import RayPipelineExecutor
    except ImportError:
        raise ConfigError(
            "engine.kind: 'ray' needs the ray package: pip install 'jielong[ray]'"
        ) from None
    if not ray.is_initialized():
        try:
            ray.init(address=config.ray_address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConfigError(
                f"engine.ray_address: {config.ray_address!r}: no Ray cluster there ({error}): "
                "start one with `ray start --head`, or correct the address"
            ) from None
    return RayPipelineExecutor(**common, workers=workers, mem_per_cpu_gb=1)


def _wait(executor: Any) -> None:  # noqa: ANN401 - a datatrove executor
    """Slurm takes jobs and returns: wait until none of ours is left in its queue."""
    while executor.get_incomplete_ranks():
        queue = ["squeue", "--noheader", "--jobs", str(executor.job_id)]
        listed = subprocess.run(queue, capture_output=True, text=True, check=False)
        if not listed.stdout.strip():
            return
        time.sleep(_POLL_S)


def _silence() -> None:
    """Progress and errors are told by us; datatrove's own log would repeat both."""
    from loguru import logger

    logger.disable("datatrove")
