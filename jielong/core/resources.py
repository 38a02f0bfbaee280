"""What a process has used, and what it may use."""

import os
import re
import resource
import sys
from pathlib import Path

_UNLIMITED = 2**60  # cgroups write an absent limit as "max", or as a number as large as this
_STATUS = Path("/proc/self/status")


def peak_rss_bytes() -> int:
    """The largest resident set this process has had, in bytes.

    On Linux by its own memory's account: what `getrusage` tells begins with the peak of the process
    that started it.
    """
    if _STATUS.exists() and (
        found := re.search(r"^VmHWM:\s*(\d+) kB$", _STATUS.read_text(errors="replace"), re.M)
    ):
        return int(found[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def rss_bytes() -> int:
    """This process's resident set now; where the system does not tell, the largest it has had."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return peak_rss_bytes()
    return pages * os.sysconf("SC_PAGE_SIZE")


def memory_limit_bytes(root: Path = Path("/")) -> int:
    """The most memory this process can have: the machine's, or what its control groups allow.

    A container's limit is that of its group or of any group above it (cgroup v2 `memory.max`, v1
    `memory.limit_in_bytes`). `root` is where `proc` and `sys` are found.
    """
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        groups = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return machine
    return min([machine, *(limit for group in groups for limit in _limits(root, group))])


def _limits(root: Path, group: str) -> list[int]:
    """The limits of one line of `/proc/self/cgroup` (number:controllers:path), and those above."""
    number, controllers, path = group.split(":", 2)
    if number == "0":
        top, name = root / "sys/fs/cgroup", "memory.max"
    elif "memory" in controllers.split(","):
        top, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
    else:
        return []
    # Inside a container the path may be the host's, of which only the top can be seen.
    parts = [part for part in path.split("/") if part not in ("", "..")]
    folders = [top.joinpath(*parts[:depth]) for depth in range(len(parts) + 1)]
    found = []
    for folder in folders:
        try:
            text = (folder / name).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdecimal() and 0 < int(text) < _UNLIMITED:
            found.append(int(text))
    return found
