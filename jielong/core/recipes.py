"""Where the recipes lie: at the top of a checkout, or inside the package installed from a wheel."""

import difflib
from pathlib import Path

from jielong.core.errors import ConfigError

PACKAGE = Path(__file__).resolve().parents[1]


def recipe_path(name: str) -> Path:
    """Find a shipped recipe by its name, such as `small/pretrain`."""
    folder = _folder()
    path = folder / f"{name}.toml"
    if path.is_file():
        return path
    known = sorted(
        found.relative_to(folder).with_suffix("").as_posix() for found in folder.glob("*/*.toml")
    )
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    fix = f"did you mean {near[0]!r}?" if near else f"{folder} holds none: install jielong again"
    raise ConfigError(f"recipe: {name}: no such shipped recipe: {fix}")


def _folder() -> Path:
    installed = PACKAGE / "_recipes"
    return installed if installed.is_dir() else PACKAGE.parent / "recipes"
