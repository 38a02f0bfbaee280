"""What a report is made of: the runs in a directory, their metrics, and the evaluation's files."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jielong.core.errors import DataError, RunDirectoryError
from jielong.core.run_dir import MANIFEST, open_run, read_metrics
from jielong.evaluation.summary import Summary, read_summary

ORDER = ("prepare", "tokenize", "pretrain", "sft", "reward", "ppo", "ppo-ptx")
TITLES = {
    "pretrain": "Base",
    "base": "Base",
    "sft": "SFT",
    "reward": "Reward model",
    "ppo": "PPO",
    "ppo-ptx": "PPO-ptx",
    "ppo-chain": "PPO on chains",
    "ppo-beta-0": "PPO, β = 0",
}


@dataclass(frozen=True)
class Run:
    """One stage's run directory, as far as it has come."""

    name: str
    manifest: Mapping[str, Any]
    metrics: tuple[Mapping[str, Any], ...]

    @property
    def title(self) -> str:
        """The name to show."""
        return TITLES.get(self.name, self.name)

    @property
    def colour(self) -> str:
        """The run's colour in every figure."""
        known = {"pretrain": "base", "sft": "sft", "reward": "reward", "ppo": "ppo"}
        return {**known, "ppo-ptx": "ppo-ptx"}.get(self.name, "other")

    def series(self, key: str, x: str = "step") -> tuple[list[float], list[float]]:
        """The lines of the metrics that hold both `x` and `key`."""
        points = [(m[x], m[key]) for m in self.metrics if _number(m.get(x)) and _number(m.get(key))]
        return [point[0] for point in points], [point[1] for point in points]

    def has(self, *keys: str) -> bool:
        """Whether some line holds a number for each key."""
        return any(all(_number(m.get(key)) for key in keys) for m in self.metrics)

    def keys(self) -> list[str]:
        """Every numeric key, in the order of first appearance."""
        found = {key: None for m in self.metrics for key, value in m.items() if _number(value)}
        return list(found)

    def broken_metrics(self) -> list[str]:
        """Keys that were not finite somewhere."""
        bad = {
            key: None
            for m in self.metrics
            for key, value in m.items()
            if isinstance(value, float) and not math.isfinite(value)
        }
        return list(bad)


@dataclass(frozen=True)
class Material:
    """Everything found in a directory; what is missing is empty."""

    name: str
    summary: Summary | None
    runs: tuple[Run, ...]
    evaluation: Mapping[str, Any]

    def run(self, name: str) -> Run | None:
        """The run of that directory name."""
        return next((run for run in self.runs if run.name == name), None)

    def with_metric(self, *keys: str) -> Iterator[Run]:
        """Runs that logged all of these keys together."""
        return (run for run in self.runs if run.has(*keys))


def gather(directory: Path) -> Material:
    """Read a quickstart directory, or the directory of a single run.

    Raises `RunDirectoryError` when there is nothing to report and `DataError` when a file is
    damaged.
    """
    summary = directory / "summary.json"
    children = sorted(directory.iterdir()) if directory.is_dir() else []
    candidates = [directory, *(child for child in children if child.is_dir())]
    runs = [_run(path) for path in candidates if (path / MANIFEST).exists()]
    if not runs and not summary.exists():
        raise RunDirectoryError(
            f"{directory}: neither a run nor a quickstart directory: give one that holds "
            f"{MANIFEST} or summary.json"
        )
    files = sorted((directory / "evaluation").glob("*.json"))
    return Material(
        name=directory.resolve().name,
        summary=read_summary(summary) if summary.exists() else None,
        runs=tuple(sorted(runs, key=_place)),
        evaluation={file.stem: _json(file) for file in files if file.name != MANIFEST},
    )


def _run(path: Path) -> Run:
    return Run(path.resolve().name, open_run(path).manifest, tuple(read_metrics(path)))


def _place(run: Run) -> tuple[int, str]:
    return (ORDER.index(run.name) if run.name in ORDER else len(ORDER), run.name)


def _json(path: Path) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: damaged ({error}): evaluate anew") from error


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
