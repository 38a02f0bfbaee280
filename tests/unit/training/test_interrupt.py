"""Real signals to real processes."""

import os
import signal
import threading

import pytest

from jielong.training.interrupt import interruptible


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_waits_and_the_second_does_not(
    number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(number)
    with interruptible() as asked:
        assert asked.number == 0
        os.kill(os.getpid(), number)
        assert asked.number == number
        assert "once more ends at once" in capfd.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_another_thread_changes_no_handler() -> None:
    seen = []

    def work() -> None:
        with interruptible() as asked:
            seen.append((asked.number, signal.getsignal(signal.SIGTERM)))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(0, before)]
