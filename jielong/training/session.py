"""What a run does around its steps: go on from a checkpoint, log, show, save, go back, end."""

import math
import tomllib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from jielong.core.errors import TrainingDivergedError
from jielong.core.processes import is_first, wait, world_size
from jielong.core.progress import Task, progress, say
from jielong.core.run_dir import CONFIG, RunDir
from jielong.training.checkpoint import best, checkpoints, restore, resume, save_checkpoint
from jielong.training.guard import Guard
from jielong.training.learner import Learner
from jielong.training.plan import Plan
from jielong.training.speed import machine_peak, speed
from jielong.training.trackers import Subject, Tracker, log_all, trackers

IDENTITY = "tracking_id"


class Session:
    """One sitting of one run, from its start or from where it was resumed."""

    def __init__(self, run: RunDir, learner: Learner, plan: Plan) -> None:
        self.run, self.learner, self.plan = run, learner, plan
        self.guard = Guard(plan.loop.guard, run, plan.guarded, learner.schedule.warmup_steps)
        self._bar: Task | None = None
        self._trackers: list[Tracker] = []
        self._held_out_loss: float | None = None
        self._peak = 0.0
        self._shown: dict[str, float] = {}

    @contextmanager
    def open(self) -> Iterator[None]:
        """Go on where the run was left, show how far it is, and close what was opened."""
        run, plan = self.run, self.plan
        run.earlier_s = self._restore(run.resume_from)
        is_new = not checkpoints(run.path)
        wait()
        if plan.loop.guard.most and is_new:
            self.save()  # where a run begins is a place to go back to
        if plan.work is not None:
            weight = next(self.learner.module.parameters())
            self._peak = world_size() * machine_peak(
                run, weight.device, self.learner.precision.dtype or weight.dtype
            )
        title = f"{run.manifest['stage']} -> {run.path}"
        try:
            self._start_trackers()
            with progress(title, total=plan.steps, done=self.learner.step) as self._bar:
                yield
        finally:
            self._finish_trackers()

    def check(self, learner: Learner, metrics: dict[str, float]) -> None:
        """A hook: raises `TrainingDivergedError` when the loss has broken away."""
        self.guard.check(learner.step - 1, metrics)

    def measure(self) -> None:
        """Measure what is held out, for the line of this step and for its checkpoint.

        That is done with the weights that the run would be saved with.
        """
        assert self.plan.held_out_loss is not None
        with self.learner.averaged():
            self._held_out_loss = self.plan.held_out_loss()

    def log(self, learner: Learner, metrics: dict[str, float]) -> None:
        """A hook: write the step's line, and show it."""
        metrics |= speed(metrics, self.plan.work, self._peak)
        if self._held_out_loss is not None:
            metrics["held_out_loss"] = self._held_out_loss
        self.run.log({"step": learner.step, **metrics})
        log_all(self._trackers, learner.step, metrics)
        if self._bar is not None:
            self._bar.advance(note=self._note(metrics))

    def save(self) -> None:
        """Write a checkpoint of this step."""
        state, measured = self.plan.state, self._held_out_loss
        if measured is not None and not math.isfinite(measured):
            measured = None
        save_checkpoint(
            self.run.path,
            self.learner,
            state.to_dict() if state else None,
            self.plan.loop.keep_last,
            measured,
        )
        self._held_out_loss = None

    def go_back(self, step: int, error: TrainingDivergedError) -> None:
        """After step `step` (from 0) diverged: repeat from the last checkpoint, without it.

        Raises the error when the run never goes back, or has done so too often.
        """
        if not self.plan.loop.guard.most:
            raise error
        self._restore(None)
        self.guard.record(step, error, self.learner.step)
        self._finish_trackers()
        self._start_trackers()
        if self._bar is not None:
            self._bar.go_back(self.learner.step)

    def take_best(self) -> None:
        """End where the checkpoint is that did best on what is held out.

        With all that the learner holds, for an average of the weights is none of the module's.
        """
        wait()
        path = best(self.run.path)
        if path is None:
            return
        self.run.note({"best_checkpoint": path.name})
        if path != checkpoints(self.run.path)[-1]:
            say(f"{path.name} did best on what is held out: its weights are the run's model")
            restore(path, self.learner)

    def _restore(self, name: str | None) -> float:
        """Be where a checkpoint was; returns the seconds of the steps that led there."""
        wait()
        extra = resume(self.run.path, self.learner, name)
        if self.plan.state is not None and extra:
            self.plan.state.from_dict(extra)
        lines = self.run.truncate_logs(self.learner.step)
        self.guard.recall(lines)
        self._held_out_loss = None
        return sum(line.get("step_s", 0.0) for line in lines)

    def _start_trackers(self) -> None:
        config = self.plan.loop.tracking
        if not (config.to and is_first()):
            return
        if IDENTITY not in self.run.manifest:
            self.run.note({IDENTITY: uuid.uuid4().hex[:8]})
        settings = tomllib.loads((self.run.path / CONFIG).read_text(encoding="utf-8"))
        identity = self.run.manifest[IDENTITY]
        subject = Subject(
            folder=self.run.path, identity=identity, settings=settings, step=self.learner.step
        )
        for tracker in trackers(config):
            tracker.start(subject)
            self._trackers.append(tracker)

    def _finish_trackers(self) -> None:
        while self._trackers:
            self._trackers.pop().finish()

    def _note(self, metrics: dict[str, float]) -> str:
        """Loss, speed and utilisation; the last two smoothed, for a step's own jump about."""
        shown, headline = self._shown, self.plan.headline
        if headline in metrics:
            shown[headline] = metrics[headline]
        for name in ("tokens_per_s", "utilisation"):
            if name in metrics:
                shown[name] = 0.9 * shown.get(name, metrics[name]) + 0.1 * metrics[name]
        parts = [f"{headline} {shown[headline]:.3f}"] if headline in shown else []
        parts += [f"{shown['tokens_per_s']:.0f} tok/s"] if "tokens_per_s" in shown else []
        parts += [f"{shown['utilisation']:.0%} of peak"] if "utilisation" in shown else []
        return "  ".join(parts)
