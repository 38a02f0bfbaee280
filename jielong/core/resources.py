"""What a process has used."""

import re
import resource
import sys
from pathlib import Path

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
