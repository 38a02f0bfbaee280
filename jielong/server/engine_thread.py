"""One thread owns the model; requests wait their turn in a short queue, and may leave it any time.

The asyncio side and the thread meet in `Job`: the thread hands over pieces of text as they are
made, and looks before each token whether the job is still wanted.
"""

import asyncio
import logging
import math
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

from jielong.core.errors import DataError, JielongError
from jielong.generation.engine import Completion, stream
from jielong.generation.loading import Trained
from jielong.generation.readers import Speaker
from jielong.generation.sampling import Sampling

_log = logging.getLogger("jielong.server")
_LONGEST_WAIT_S = 60
_MEMORY = 0.8


class QueueFullError(JielongError):
    """No place is left; one should be free in `retry_after_s` seconds."""

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class EngineClosedError(JielongError):
    """The server is going down; the answer was not made, or not to its end."""


class EngineFailedError(JielongError):
    """A bug of ours ended this answer; the log has it."""


class Job:
    """One answer: waiting, being made, or done. Made in the event loop that will read it."""

    def __init__(self, prompt: Sequence[int], sampling: Sampling) -> None:
        self.prompt = list(prompt)
        self.sampling = sampling
        self.cancelled = False
        self.completion: Completion | None = None
        self._loop = asyncio.get_running_loop()
        self._news: asyncio.Queue[str | Completion | JielongError] = asyncio.Queue()
        self._first: str | Completion | JielongError | None = None

    def tell(self, news: str | Completion | JielongError) -> None:
        """Hand a piece of text, the end, or a failure to the reader. Called by any thread."""
        try:
            self._loop.call_soon_threadsafe(self._news.put_nowait, news)
        except RuntimeError:  # the loop is closed: nobody reads any more
            self.cancelled = True

    async def begin(self, patience_s: float) -> None:
        """Wait for the first piece, or `patience_s`. Raises what kept the answer from beginning."""
        with suppress(TimeoutError):
            self._first = await asyncio.wait_for(self._news.get(), patience_s)
        if isinstance(self._first, JielongError):
            raise self._first

    async def texts(self, patience_s: float) -> AsyncIterator[str]:
        """The pieces of the answer; before the first, "" whenever nothing came for `patience_s`.

        Afterwards `completion` holds the whole. Raises `EngineClosedError`, `EngineFailedError`, or
        the `DataError` of a prompt that the model cannot take.
        """
        news = self._first
        while news is None:
            try:
                news = await asyncio.wait_for(self._news.get(), patience_s)
            except TimeoutError:
                yield ""
        # From here on nothing may stand between a token and its reader, not even a timer.
        while isinstance(news, str):
            yield news
            news = await self._news.get()
        if isinstance(news, JielongError):
            raise news
        self.completion = news


class EngineThread:
    """The worker and its queue of at most `waiting` jobs behind the one that is being answered."""

    def __init__(self, assistant: Trained[Speaker], waiting: int) -> None:
        self.assistant = assistant
        self._waiting = waiting
        self._jobs: deque[Job] = deque()
        self._current: Job | None = None
        self._changed = threading.Condition()
        self._is_closing = False
        self._job_s = 1.0
        # A daemon: a second Ctrl-C need not wait for the answer that is being made.
        self._thread = threading.Thread(target=self._work, name="jielong-engine", daemon=True)

    def start(self) -> None:
        """Begin to take jobs."""
        self._thread.start()

    @property
    def is_ready(self) -> bool:
        """Whether a request would be answered."""
        return self._thread.is_alive() and not self._is_closing

    def submit(self, prompt: Sequence[int], sampling: Sampling) -> Job:
        """Queue an answer. Raises `QueueFullError`, or `EngineClosedError` at the end."""
        job = Job(prompt, sampling)
        with self._changed:
            if not self.is_ready:
                raise EngineClosedError("the server is shutting down")
            if len(self._jobs) + (self._current is not None) > self._waiting:
                retry_after_s = min(max(math.ceil(self._job_s), 1), _LONGEST_WAIT_S)
                raise QueueFullError(
                    f"{len(self._jobs)} requests are waiting already: "
                    f"try again in {retry_after_s} s",
                    retry_after_s=retry_after_s,
                )
            self._jobs.append(job)
            if self._current is None:
                self._changed.notify()
        return job

    def cancel(self, job: Job) -> None:
        """Nobody wants this answer any more; its place is free at once, or after one token."""
        with self._changed:
            job.cancelled = True
            if job in self._jobs:
                self._jobs.remove(job)

    def close(self) -> None:
        """End the thread; jobs that are not done learn that they will not be."""
        with self._changed:
            self._is_closing = True
            unfinished = [*self._jobs, *([self._current] if self._current else [])]
            self._jobs.clear()
            self._changed.notify()
        for job in unfinished:
            job.cancelled = True
            job.tell(EngineClosedError("the server is shutting down"))
        self._thread.join(timeout=10)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._current = None
                self._changed.wait_for(lambda: self._jobs or self._is_closing)
                if self._is_closing:
                    return
                self._current = job = self._jobs.popleft()
            start_s = time.monotonic()
            try:
                self._answer(job)
            except DataError as error:
                job.tell(error)
            except Exception as error:  # noqa: BLE001 - one failing request must end alone
                _log.error("an answer failed", exc_info=error)
                job.tell(EngineFailedError(type(error).__name__))
            spent_s = time.monotonic() - start_s
            self._job_s = _MEMORY * self._job_s + (1 - _MEMORY) * spent_s

    def _answer(self, job: Job) -> None:
        whole = Completion()
        for text, so_far in stream(self.assistant, job.prompt, job.sampling):
            if job.cancelled:
                return
            if text:
                job.tell(text)
            whole = so_far
        job.tell(whole)
