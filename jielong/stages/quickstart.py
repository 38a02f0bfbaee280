"""Quickstart: every stage in order, from raw text to an assistant and its report, in one directory.

A stage that has finished is left as it is and one that was interrupted goes on, so the same command
with `--resume` always leads to the end.
"""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jielong.core import config as configs
from jielong.core.errors import ConfigError
from jielong.core.progress import say
from jielong.core.recipes import recipe_path
from jielong.core.run_dir import MANIFEST, RunDir, is_done
from jielong.evaluation.report import write_report
from jielong.stages import STAGES

SCALED = {
    "pretrain": ("steps",),
    "sft": ("steps",),
    "reward": ("train_prompts",),
    "ppo": ("rollout.iterations",),
}
"""The settings that make a stage longer: `--minutes` multiplies them."""


@dataclass(frozen=True, kw_only=True)
class QuickstartConfig:
    """Which recipes to run, in order (all in this recipe's own folder), under which `root` their
    paths lie, how many `minutes` they take as they are, and whose model is the assistant."""

    root: str
    stages: tuple[str, ...]
    minutes: float
    assistant: str


@dataclass(frozen=True, kw_only=True)
class QuickstartRun:
    """What one quickstart was asked for: a resumed one must be asked for the same."""

    recipes: str
    seed: int
    minutes: float


def run(
    directory: Path,
    *,
    recipes: str = "small",
    minutes: float | None = None,
    seed: int = 0,
    resume: bool = False,
) -> Path:
    """Run all stages into `directory`; ends with `summary.json` and `report.html` there."""
    plan = configs.load(QuickstartConfig, recipe_path(f"{recipes}/quickstart"))
    minutes = plan.minutes if minutes is None else minutes
    if minutes <= 0:
        raise ConfigError(f"minutes: {minutes}: give a number above 0")
    asked = QuickstartRun(recipes=recipes, seed=seed, minutes=minutes)
    if resume and is_done(directory, asked):
        write_report(directory)
        say(f"{directory}: already finished")
        return directory
    whole = RunDir.create(directory, stage="quickstart", config=asked, resume=resume)
    for name in plan.stages:
        _run_stage(plan, asked, name, directory)
    whole.finish({"assistant": plan.assistant})
    write_report(directory)
    say(f"done: {directory / 'report.html'} shows how it went")
    return directory


def stage_of(recipe: str) -> str:
    """The stage that a recipe's name stands for: "ppo-ptx" is one of "ppo"."""
    return recipe.partition("-")[0]


def _run_stage(plan: QuickstartConfig, asked: QuickstartRun, name: str, directory: Path) -> None:
    stage = stage_of(name)
    module_name, class_name = STAGES[stage].split(":")
    module = importlib.import_module(module_name)
    config = configs.load(getattr(module, class_name), recipe_path(f"{asked.recipes}/{name}"))
    values = _rebase(configs.to_dict(config), plan.root, str(directory))
    if "seed" in values and stage != "prepare":
        # Runs of different seeds are compared on the same held-out text.
        values["seed"] = asked.seed
    for setting in SCALED.get(stage, ()):
        _scale(values, setting, asked.minutes / plan.minutes)
    config = configs.parse(type(config), values)
    path = Path(values["run_dir"])
    if not is_done(path, config):
        module.run(config, resume=(path / MANIFEST).exists())


def _rebase(value: Any, root: str, directory: str) -> Any:  # noqa: ANN401 - any TOML value
    """Every path under `root` as one under `directory`."""
    if isinstance(value, dict):
        return {key: _rebase(item, root, directory) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rebase(item, root, directory) for item in value]
    if isinstance(value, str) and (value == root or value.startswith(f"{root}/")):
        return directory + value[len(root) :]
    return value


def _scale(values: dict[str, Any], setting: str, factor: float) -> None:
    *parents, last = setting.split(".")
    for parent in parents:
        values = values[parent]
    values[last] = max(1, round(values[last] * factor))
