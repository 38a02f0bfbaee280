"""Ctrl-C and SIGTERM in training: the first waits for the end of a step, the second does not."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from jielong.core.processes import is_first, world_size

SIGNALS = (signal.SIGINT, signal.SIGTERM)
WAITING = b"\nstopping after this step, with a checkpoint; once more ends at once\n"


@dataclass
class Interruption:
    """Which signal has asked the run to stop; 0 is none."""

    number: int = 0


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Note the first signal, so that a step is never cut in the middle; end at once at the second.

    One of several processes gets each signal twice, from the terminal and from torchrun, which ends
    it in its own time: there no signal ends at once. Signals reach only the main thread: in another
    one nothing is changed.
    """
    asked = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def handle(number: int, _frame: FrameType | None) -> None:
        if asked.number:
            if world_size() == 1:
                raise KeyboardInterrupt
            return
        asked.number = number
        # The handler may have cut into a write to stderr, which Python's own files do not allow.
        if is_first():
            os.write(2, WAITING)

    previous = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield asked
    finally:
        for number, handler in previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
