"""The one training loop. A stage gives it batches and an objective; it knows no model."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from jielong.core.allocator import keep_freed_memory
from jielong.core.errors import StoppedError, TrainingDivergedError
from jielong.core.run_dir import RunDir, read_metrics
from jielong.training.distributed import anywhere
from jielong.training.interrupt import interruptible
from jielong.training.learner import Learner, Part
from jielong.training.plan import Plan
from jielong.training.session import Session
from jielong.training.speed import items

Hook = Callable[[Learner, dict[str, float]], None]
Batches = Callable[[int], Sequence[Part]]


def train(
    learner: Learner,
    batches: Batches,
    steps: int,
    hooks: Sequence[Hook] = (),
    boundary: int = 1,
    go_back: Callable[[int, TrainingDivergedError], None] | None = None,
) -> None:
    """Step until the learner has made `steps` steps; after each one call the hooks in order.

    `batches(step)` is a pure function of the step and of what a checkpoint holds: that is what
    makes a resumed run equal an undisturbed one. When a step or a hook finds that training has
    diverged, `go_back` takes the learner to an earlier step. Ctrl-C and SIGTERM end after a step
    whose number is a multiple of `boundary`, when the hooks have run, with `StoppedError`.
    """
    with interruptible() as interruption:
        while learner.step < steps:
            started, step = time.perf_counter(), learner.step
            try:
                metrics = learner.update(*batches(step))
                metrics["step_s"] = time.perf_counter() - started
                for hook in hooks:
                    hook(learner, metrics)
            except TrainingDivergedError as error:
                if go_back is None:
                    raise
                go_back(step, error)
            if learner.step % boundary == 0 and (number := anywhere(interruption.number)):
                raise StoppedError(f"stopped after step {learner.step}", number)


def run_training(
    run: RunDir, learner: Learner, batches: Batches, plan: Plan, hooks: Sequence[Hook] = ()
) -> None:
    """`train` inside a run directory: resume, progress, metrics, checkpoints, the final save."""
    keep_freed_memory()
    session = Session(run, learner, plan)

    def source(step: int) -> Sequence[Part]:
        parts = batches(step)  # asked for in any case: PPO's next step may rest on it
        return [] if session.guard.leaves_out(step) else parts

    measured = [every(plan.interval, session.measure, plan.steps)] if plan.held_out_loss else []
    saved = every(plan.interval, session.save, plan.steps)
    hooks = [session.check, *hooks, *measured, session.log, saved]
    with session.open():
        try:
            train(learner, source, plan.steps, hooks, plan.boundary, session.go_back)
        except StoppedError as stop:
            session.save()
            raise StoppedError(
                f"{run.path}: stopped after step {learner.step} of {plan.steps}, and saved: the "
                "same command with --resume goes on",
                stop.exit_code - 128,
            ) from None
    if plan.held_out_loss:
        session.take_best()


def every(interval: int, action: Callable[[], object], last: int | None = None) -> Hook:
    """A hook that acts at each `interval`-th step, and at step `last`."""

    def hook(learner: Learner, _metrics: dict[str, float]) -> None:
        if learner.step % interval == 0 or learner.step == last:
            action()

    return hook


def totals(path: Path) -> dict[str, float]:
    """What all logged steps of a run add up to: seconds in the loop, steps, and target tokens."""
    lines = read_metrics(path)
    seconds = sum(m.get("step_s", 0.0) for m in lines)
    return {
        "train_s": seconds,
        "steps": len(lines),
        "tokens": int(sum(items(line) for line in lines)),
    }
