import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jielong.core.resources import memory_limit_bytes

MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
V1_UNLIMITED = (
    9223372036854771712  # what the kernel writes there: the largest number of whole pages
)


def system(root: Path, groups: str, limits: dict[str, str]) -> Path:
    """A file system with these control groups."""
    for name, content in {"proc/self/cgroup": groups, **limits}.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return root


def test_a_process_knows_its_size(run_alone: Callable[[str], str]) -> None:
    found = run_alone(
        """
import os
from jielong.core.resources import peak_rss_bytes, rss_bytes
before = rss_bytes()
held = bytearray(os.urandom(50_000_000))
print(before, rss_bytes(), peak_rss_bytes())
"""
    )
    before, after, peak = map(int, found.split())
    assert after - before == pytest.approx(50_000_000, rel=0.1)
    assert 0 < before < after <= peak * 1.05


@pytest.mark.parametrize(
    ("groups", "limits", "expected"),
    [
        ("", {}, MACHINE),
        ("0::/\n", {"sys/fs/cgroup/memory.max": "max\n"}, MACHINE),
        ("0::/a/b\n", {"sys/fs/cgroup/a/b/memory.max": "5000000\n"}, 5_000_000),
        (
            "0::/a/b\n",
            {"sys/fs/cgroup/a/memory.max": "4000000\n", "sys/fs/cgroup/a/b/memory.max": "max\n"},
            4_000_000,
        ),
        ("0::/host/only\n", {"sys/fs/cgroup/memory.max": "3000000\n"}, 3_000_000),
        (
            "5:cpu:/x\n3:memory,pids:/x\n",
            {"sys/fs/cgroup/memory/x/memory.limit_in_bytes": "2000000\n"},
            2_000_000,
        ),
        (
            "3:memory:/\n",
            {"sys/fs/cgroup/memory/memory.limit_in_bytes": f"{V1_UNLIMITED}\n"},
            MACHINE,
        ),
        ("5:cpu:/x\n", {"sys/fs/cgroup/memory/x/memory.limit_in_bytes": "2000000\n"}, MACHINE),
    ],
    ids=["none", "unlimited", "own", "above", "container", "v1", "v1-unlimited", "other"],
)
def test_the_smallest_limit_counts(
    tmp_path: Path, groups: str, limits: dict[str, str], expected: int
) -> None:
    assert memory_limit_bytes(system(tmp_path, groups, limits)) == expected


def test_without_control_groups_it_is_the_machines(tmp_path: Path) -> None:
    assert memory_limit_bytes(tmp_path) == MACHINE


FAT = 300_000_000  # bytes
PEAK = "from jielong.core.resources import peak_rss_bytes; print(peak_rss_bytes())"


def test_the_peak_stays_when_the_memory_is_gone(run_alone: Callable[[str], str]) -> None:
    plain = int(run_alone(PEAK))
    fat = int(run_alone(f"x = bytearray(b'1') * {FAT}; del x; {PEAK}"))
    assert 0.9 * FAT < fat - plain < 1.1 * FAT


@pytest.mark.skipif(sys.platform != "linux", reason="getrusage tells the starter's peak there")
def test_a_child_does_not_begin_with_the_peak_of_its_parent(
    run_alone: Callable[[str], str],
) -> None:
    child = f"subprocess.run([sys.executable, '-c', {PEAK!r}], check=True)"
    assert int(run_alone(f"import subprocess, sys; x = bytearray(b'1') * {FAT}; {child}")) < FAT
