"""What every test runs under: fixed threads, no hub, reproducible examples.

Nothing of jielong may be imported at the top of a conftest: the hook that checks types and shapes
has to see the first import.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", MPLBACKEND="Agg")
settings.register_profile("reproducible", derandomize=True, deadline=None)
settings.load_profile("reproducible")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--kills 20` is for a night: tests/pipeline/test_resume.py kills each stage that often."""
    parser.addoption("--kills", type=int, default=1, help="how often a run is killed and resumed")


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """A job in the background is started with Ctrl-C ignored, and its children inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _fixed_threads() -> None:
    """One thread here: sums come out alike on any machine, and tiny tensors run faster."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The folder that holds the project."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def run_alone(repository: Path) -> Callable[[str], str]:
    """Run a program in a process of its own; gives what it prints."""

    def run(program: str) -> str:
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=repository)
        return done.stdout

    return run
