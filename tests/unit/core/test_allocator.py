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
        pieces = [torch.ones(2**20) for _ in range(8)]
        del pieces
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    """Pages that the system had to give, in the second of two equal rounds."""
    done = subprocess.run(
        [sys.executable, "-c", COUNT, how], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="the GNU C library's settings")
def test_freed_memory_is_used_again_without_asking_the_system() -> None:
    """Five times eight tensors of 4 MiB: 40,960 pages of 4 KiB if every one is asked for anew."""
    assert faults("given back") > 10_000
    assert faults("kept") < 500
