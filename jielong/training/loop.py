"""The one training loop. A stage gives it batches and an objective; it knows no model."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from jielong.core.allocator import keep_freed_memory
from jielong.core.progress import progress
from jielong.core.run_dir import RunDir, read_metrics
from jielong.training.checkpoint import resume, save_checkpoint
from jielong.training.learner import Learner, Part

Hook = Callable[[Learner, dict[str, float]], None]


@runtime_checkable
class State(Protocol):
    """What a stage keeps between steps beside the learner, as plain JSON values."""

    def to_dict(self) -> dict[str, Any]:
        """Everything, for a checkpoint."""
        ...

    def from_dict(self, values: Mapping[str, Any]) -> None:
        """Put back what `to_dict` gave."""
        ...


def train(
    learner: Learner,
    batches: Callable[[int], Sequence[Part]],
    steps: int,
    hooks: Sequence[Hook] = (),
    boundary: int = 1,
) -> None:
    """Step until the learner has made `steps` steps; after each one call the hooks in order.

    `batches(step)` is a pure function of the step and of what a checkpoint holds: that is what
    makes a resumed run equal an undisturbed one. Ctrl-C ends after a step whose number is a
    multiple of `boundary`, when the hooks have run.
    """
    with interruptible() as interrupted:
        while learner.step < steps:
            started = time.perf_counter()
            metrics = learner.update(*batches(learner.step))
            metrics["step_s"] = time.perf_counter() - started
            for hook in hooks:
                hook(learner, metrics)
            if interrupted.is_set() and learner.step % boundary == 0:
                raise KeyboardInterrupt


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long a run is, how often it is saved, and what else it keeps.

    Checkpoints fall on multiples of `boundary` steps: where `batches` may start from nothing.
    """

    steps: int
    save_every: int
    boundary: int = 1
    state: State | None = None
    headline: str = "loss"


def run_training(
    run: RunDir,
    learner: Learner,
    batches: Callable[[int], Sequence[Part]],
    plan: Plan,
    hooks: Sequence[Hook] = (),
) -> None:
    """`train` inside a run directory: resume, progress, metrics, checkpoints, the final save."""
    keep_freed_memory()
    state = plan.state
    extra = resume(run.path, learner)
    if state is not None and extra:
        state.from_dict(extra)
    run.truncate_metrics(learner.step)
    stage = run.manifest["stage"]

    def save() -> None:
        save_checkpoint(run.path, learner, state.to_dict() if state else None)

    with progress(f"{stage} -> {run.path}", total=plan.steps, done=learner.step) as bar:

        def log(learner: Learner, metrics: dict[str, float]) -> None:
            run.log({"step": learner.step, **metrics})
            headline = metrics.get(plan.headline)
            bar.advance(note="" if headline is None else f"{plan.headline} {headline:.3f}")

        interval = plan.boundary * max(1, plan.save_every // plan.boundary)
        hooks = [*hooks, log, every(interval, save, plan.steps)]
        try:
            train(learner, batches, plan.steps, hooks, plan.boundary)
        except KeyboardInterrupt:
            save()
            raise


def every(interval: int, action: Callable[[], object], last: int | None = None) -> Hook:
    """A hook that acts at each `interval`-th step, and at step `last`."""

    def hook(learner: Learner, _metrics: dict[str, float]) -> None:
        if learner.step % interval == 0 or learner.step == last:
            action()

    return hook


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Turn Ctrl-C into an event, so that a step is never cut in the middle."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    previous = signal.signal(signal.SIGINT, lambda *_: event.set())
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, previous)


def totals(path: Path) -> dict[str, float]:
    """What all logged steps of a run add up to: seconds in the loop, steps, and target tokens."""
    lines = read_metrics(path)
    items = sum(v for m in lines for name, v in m.items() if name.rpartition("_")[2] == "items")
    seconds = sum(m.get("step_s", 0.0) for m in lines)
    return {"train_s": seconds, "steps": len(lines), "tokens": int(items)}
