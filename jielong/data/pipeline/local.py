"""datatrove's local executor, on a pool of processes that notices when one of them is lost.

Its own pool would wait for ever for the task of a worker that the system has ended.
"""

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor

from datatrove.executor.local import LocalPipelineExecutor


class LocalExecutor(LocalPipelineExecutor):
    """Tasks in this process when there is one worker, else in workers that end with it."""

    def run(self) -> None:
        """Run what is not done; raises what a task raised, or `BrokenProcessPool`."""
        ranks: list[int] = self.get_incomplete_ranks()
        if self.workers == 1:
            for rank in ranks:
                self._run_for_rank(rank)
            return
        others = set(multiprocessing.active_children())
        context = multiprocessing.get_context("forkserver")
        with ProcessPoolExecutor(self.workers, context, initializer=_follow_parent) as pool:
            try:
                for done in [pool.submit(self._one, rank) for rank in ranks]:
                    done.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for worker in set(multiprocessing.active_children()) - others:
                    worker.terminate()
                raise

    def _one(self, rank: int) -> None:
        """What a task says of itself is on disk: its statistics need not travel."""
        self._run_for_rank(rank)


def _follow_parent() -> None:
    """A worker leaves Ctrl-C to the command, and ends when that ends, in whatever way."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
