"""The divergence guard: a run whose loss breaks away goes back, and leaves out what led there.

Training is repeated from the last checkpoint without the step whose loss was seen to break away and
without the one before it, whose update led there. Which steps are left out is written in the run's
manifest, so a run that is killed and resumed leaves out the same ones.
"""

import math
import statistics
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from jielong.core.errors import TrainingDivergedError
from jielong.core.progress import say
from jielong.core.run_dir import RunDir

RECORD = "diverged"
DEVIATIONS = 10


@dataclass(frozen=True, kw_only=True)
class GuardConfig:
    """A loss has diverged when it, or the gradient, is not finite, or when it has exploded.

    That is: after the rate's warm-up, once `window` losses are known, it is above `factor` times
    their median (or times one nat, when the median is less), and above the median by ten times
    their median deviation. With `factor` 0 no loss is too large. The run ends when it diverges for
    the `most`-th time; 0 ends it at once and never goes back.
    """

    factor: float = 2.0
    window: int = 64
    most: int = 3

    def __post_init__(self) -> None:
        """Refuse a factor that ordinary losses pass."""
        if self.factor and self.factor <= 1:
            raise ValueError(f"factor: {self.factor}: must be above 1, or 0 for none")
        if self.window < 2:
            raise ValueError(f"window: {self.window}: must be at least 2")
        if self.most < 0:
            raise ValueError(f"most: {self.most}: must not be negative")


class Guard:
    """Watches the loss called `name` (None: only what is not finite) of one run."""

    def __init__(self, config: GuardConfig, run: RunDir, name: str | None, warmup: int = 0) -> None:
        self.config, self.run, self.name, self.warmup = config, run, name, warmup
        self._losses: deque[float] = deque(maxlen=config.window)

    @property
    def events(self) -> list[dict[str, Any]]:
        """What has happened so far, as the manifest tells it; steps are numbered as in the log."""
        return self.run.manifest.get(RECORD, [])

    def leaves_out(self, step: int) -> bool:
        """Whether the batch of `step` (from 0) is one of those that led astray."""
        return any(step + 1 in event["left_out"] for event in self.events)

    def recall(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Know the losses of the steps before a resumed run, from its log."""
        name = self.name
        self._losses.clear()
        if name is not None:
            self._losses.extend(line[name] for line in lines if name in line)

    def check(self, step: int, metrics: Mapping[str, float]) -> None:
        """Look at the loss of `step` (from 0); raises `TrainingDivergedError`."""
        loss = None if self.name is None else metrics.get(self.name)
        if loss is None:
            return
        if not math.isfinite(loss):
            raise TrainingDivergedError(f"step {step + 1}: {self.name} is {loss}")
        if step >= self.warmup and self._exploded(loss):
            median = statistics.median(self._losses)
            raise TrainingDivergedError(
                f"step {step + 1}: {self.name} is {loss:.3g}, and the median of the last "
                f"{self.config.window} is {median:.3g}"
            )
        self._losses.append(loss)

    def record(self, step: int, error: TrainingDivergedError, back_to: int) -> None:
        """Note in the manifest that `step` (from 0) diverged, and that the run goes back.

        Raises `TrainingDivergedError` when it has done so too often.
        """
        reason = str(error).split(": ", 1)[-1].partition(": ")[0]
        left_out = [number for number in (step, step + 1) if number > back_to]
        before = [event["step"] for event in self.events]
        event = {"step": step + 1, "reason": reason, "back_to": back_to, "left_out": left_out}
        self.run.note({RECORD: [*self.events, event]})
        if len(self.events) >= self.config.most:
            raise TrainingDivergedError(
                f"step {step + 1}: {reason}: the run has diverged {len(self.events)} times (steps "
                f"{', '.join(map(str, [*before, step + 1]))}): lower the learning rate; the "
                f"checkpoint of step {back_to} is whole"
            )
        say(
            f"step {step + 1}: {reason}: back to step {back_to}, leaving out "
            f"{' and '.join(map(str, left_out))}"
        )

    def _exploded(self, loss: float) -> bool:
        known = self._losses
        if not self.config.factor or len(known) < self.config.window:
            return False
        median = statistics.median(known)
        deviation = statistics.median(abs(value - median) for value in known)
        return loss > max(self.config.factor * max(median, 1.0), median + DEVIATIONS * deviation)
