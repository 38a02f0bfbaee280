"""What a process has used is its own."""

import subprocess
import sys
from pathlib import Path

import pytest

FAT = 300_000_000  # bytes
PEAK = "from jielong.core.resources import peak_rss_bytes; print(peak_rss_bytes())"


def peak_of(work: str, repository: Path) -> int:
    done = subprocess.run(
        [sys.executable, "-c", f"{work}\n{PEAK}"],
        check=True,
        capture_output=True,
        text=True,
        cwd=repository,
    )
    return int(done.stdout)


def test_the_peak_stays_when_the_memory_is_gone(repository: Path) -> None:
    plain = peak_of("", repository)
    fat = peak_of(f"x = bytearray(b'1') * {FAT}; del x", repository)
    assert 0.9 * FAT < fat - plain < 1.1 * FAT


@pytest.mark.skipif(sys.platform != "linux", reason="getrusage tells the starter's peak there")
def test_a_child_does_not_begin_with_the_peak_of_its_parent(repository: Path) -> None:
    child = f"subprocess.run([sys.executable, '-c', {PEAK!r}], check=True)"
    work = f"import subprocess, sys; x = bytearray(b'1') * {FAT}; {child}; sys.exit()"
    assert peak_of(work, repository) < FAT
