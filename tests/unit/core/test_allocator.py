import os
import subprocess
import sys

import pytest

COUNT = """
import resource, sys
import torch
from jielong.core.allocator import keep_freed_memory

if sys.argv[1] == "kept":
    assert keep_freed_memory()
def work():
    for _ in range(5):
        pieces = [torch.ones(2**18) for _ in range(32)]
        del pieces
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    """Pages that the system had to give, in the second of two equal rounds.

    The library moves its thresholds as it goes; here they start fixed, so that it surely gives back
    whatever it has not been told to keep.
    """
    fixed = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
    done = subprocess.run(
        [sys.executable, "-c", COUNT, how],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | fixed,
    )
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="the GNU C library's settings")
def test_freed_memory_is_used_again_without_asking_the_system() -> None:
    """Five times 32 tensors of 1 MiB: 40,960 pages of 4 KiB if every one is asked for anew."""
    assert faults("given back") > 10_000
    assert faults("kept") < 500
