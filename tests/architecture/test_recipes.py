"""Every shipped recipe fits its stage: `recipes/small/sft.toml` is read by the stage `sft`.

A variant carries its name after a dash: `ppo-ptx.toml` is a recipe of the stage `ppo`.
"""

import importlib
from pathlib import Path

import pytest

from jielong.core import config
from jielong.core.errors import ConfigError
from jielong.stages import STAGES

RECIPES = sorted((Path(__file__).resolve().parents[2] / "recipes").glob("*/*.toml"))


def config_class(stage: str) -> type:
    module, name = STAGES[stage].split(":")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_recipe_parses(path: Path) -> None:
    cls = config_class(path.stem.partition("-")[0])
    read = config.load(cls, path)
    assert isinstance(read, cls)
    with pytest.raises(ConfigError, match="no_such_setting"):
        config.load(cls, path, ["no_such_setting=1"])


@pytest.mark.parametrize("size", ["tiny", "small"])
def test_every_stage_has_a_recipe(size: str) -> None:
    written = {path.stem.partition("-")[0] for path in RECIPES if path.parent.name == size}
    assert written >= set(STAGES) - {"quickstart"}
