"""The scripts in `benchmarks/` by their names, which only a checkout of the repository has.

Each is run as it is, so `jielong bench training --rounds 3` is `python benchmarks/training.py
--rounds 3`. A file there that is no program is a part of others.
"""

import ast
import difflib
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from jielong.core.errors import ConfigError

CHECKOUT = Path(__file__).resolve().parents[2]
FOLDER = CHECKOUT / "benchmarks"


def benchmarks() -> dict[str, str]:
    """What each is about, in a line, by name; raises `ConfigError` where there is no checkout."""
    if not (CHECKOUT / "pyproject.toml").is_file():  # beside an installed package lie others'
        raise ConfigError(
            f"benchmarks: {FOLDER}: an installed package has none: in a checkout of the "
            "repository, pip install -e '.[test]'"
        )
    texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.py"))}
    return {
        name.replace("_", "-"): (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
        for name, text in texts.items()
        if "__main__" in text
    }


def run_benchmark(name: str, options: Sequence[str]) -> None:
    """Run one with the options of its own; raises `ConfigError` when it or a peer is missing."""
    known = benchmarks()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
        fix = f"did you mean {near[0]!r}?" if near else f"{FOLDER} holds none"
        raise ConfigError(f"bench: {name}: no such benchmark: {fix}")
    script = FOLDER / f"{name.replace('-', '_')}.py"
    sys.argv = [str(script), *options]
    sys.path.insert(0, str(FOLDER))  # as it is for a script: some share a file
    try:
        runpy.run_path(str(script), run_name="__main__")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("", "jielong"):
            raise
        raise ConfigError(
            f"bench: {name}: compares with {error.name}, which is not installed: "
            "pip install -e '.[test]', or what the head of the script names"
        ) from None
