"""How the C library keeps memory: a training step frees and takes the same gigabyte every time."""

import ctypes
import sys

# From malloc.h of the GNU C library.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_MOST = 2**31 - 1
_LARGEST_ON_THE_HEAP = 32 * 2**20  # the most that the library takes for this setting
_TAKEN_AT_ONCE = 64 * 2**20


def keep_freed_memory() -> bool:
    """Have what is freed kept for the next tensor; True where the library can be told so.

    Otherwise the GNU library hands large pieces back to the system, which clears every page anew
    when it gives them out again: some 100,000 pages and a sixteenth of a step, at 12 million
    parameters. The process never grows beyond its peak for it; it does not shrink below it either.
    """
    if sys.platform != "linux":
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):  # another C library, as Alpine's
        return False
    settings = (
        (_TRIM_THRESHOLD, _MOST),
        (_TOP_PAD, _TAKEN_AT_ONCE),
        (_MMAP_THRESHOLD, _LARGEST_ON_THE_HEAP),
    )
    return all(library.mallopt(name, value) for name, value in settings)
