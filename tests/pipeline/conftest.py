"""One real chain, made once through the command line, that the tests of this folder look at."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

COMMAND = [sys.executable, "-m", "jielong"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}  # tiny tensors: threads would only wait


def jielong(
    *arguments: str | Path, check: bool = True, **options: object
) -> subprocess.CompletedProcess:
    """Run the command line as a user does."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=600,
        **options,  # type: ignore[call-overload]
    )
    if check:
        assert done.returncode == 0, done.stderr
    return done


def signal_when(
    ready: Callable[[], bool],
    *arguments: str | Path,
    number: int = signal.SIGKILL,
    pause_s: float = 0.0,
) -> tuple[int, str]:
    """Start a command, wait until `ready` and `pause_s` more, send it a signal.

    SIGKILL ends it as a power cut would. Returns its exit status and what it said on stderr.
    """
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 300
        while not ready():
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline, "it never came so far"
            time.sleep(0.002)
        time.sleep(pause_s)
        process.send_signal(number)
        _, said = process.communicate(timeout=300)
    finally:
        process.kill()
        process.wait()
    return process.returncode, said


@contextlib.contextmanager
def serving(model: str | Path, cwd: Path | None = None) -> Iterator[str]:
    """`jielong serve MODEL` on a free port of this machine, as host:port, once it is healthy."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{probe.getsockname()[1]}"
    process = subprocess.Popen(
        [*COMMAND, "serve", str(model), "--port", host.partition(":")[2]],
        cwd=cwd,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while not _healthy(host):
            assert process.poll() is None, "it ended before it answered"
            assert time.monotonic() < deadline, "it never became healthy"
            time.sleep(0.1)
        yield host
    finally:
        process.terminate()
        process.wait(timeout=30)


def _healthy(host: str) -> bool:
    try:
        return httpx.get(f"http://{host}/health").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny recipes from raw text to a report."""
    directory = tmp_path_factory.mktemp("chain") / "quickstart"
    jielong("quickstart", "--recipes", "tiny", "--dir", directory, "--no-chat")
    return directory
