"""Imports only go down, and the command line answers before anything heavy is loaded."""

import subprocess
import sys
from pathlib import Path

HEAVY = ("fastapi", "matplotlib", "numpy", "pydantic", "tokenizers", "torch", "uvicorn")


def test_the_layer_contracts_hold(repository: Path) -> None:
    lint_imports = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run(
        [lint_imports, "--no-cache"], cwd=repository, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout


def test_help_loads_nothing_heavy(repository: Path) -> None:
    script = (
        "import sys; from jielong.cli import make_parser; make_parser().format_help();"
        f"print(*sorted(set({HEAVY}) & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=repository, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == []
