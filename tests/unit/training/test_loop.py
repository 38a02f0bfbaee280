import os
import resource
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from jielong.core.errors import StorageError
from jielong.core.run_dir import RunDir, open_run, read_metrics
from jielong.objectives.loss import Loss
from jielong.training.checkpoint import checkpoints, verify
from jielong.training.learner import Learner, Part
from jielong.training.loop import Plan, every, run_training, totals, train
from jielong.training.optimizers import Schedule
from jielong.training.plan import LoopConfig
from jielong.training.settings import TrainingConfig
from jielong.training.speed import Work


@dataclass(frozen=True, kw_only=True)
class Config:
    seed: int = 0


class Counter:
    """A stage's own state: how often it was asked for a batch."""

    def __init__(self) -> None:
        self.asked = 0

    def to_dict(self) -> dict[str, Any]:
        return {"asked": self.asked}

    def from_dict(self, values: Mapping[str, Any]) -> None:
        self.asked = values["asked"]


def learner(training: TrainingConfig | None = None) -> Learner:
    module = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(module.weight)
    optimizers = [torch.optim.SGD(module.parameters(), lr=1.0)]
    return Learner(module, optimizers, Schedule(100), 0.0, training=training)


def gradient_of(module: nn.Linear, batch: Tensor) -> Loss:
    return Loss(module(batch).sum(), torch.tensor(1.0))


def batches(step: int) -> list[Part]:
    return [Part([torch.tensor([[float(2**step)]])], gradient_of)]


def weight(made: Learner) -> float:
    return made.module.weight.item()


def run_dir(tmp_path: Path, *, resume: bool = False) -> RunDir:
    return RunDir.create(tmp_path / "run", stage="test", config=Config(), resume=resume)


def test_every_step_is_made_once_and_the_hooks_see_it() -> None:
    made, seen = learner(), []
    train(made, batches, 4, [lambda learner, metrics: seen.append((learner.step, metrics["loss"]))])
    assert weight(made) == -(1 + 2 + 4 + 8)
    assert [step for step, _ in seen] == [1, 2, 3, 4]
    train(made, batches, 4)  # already there
    assert made.step == 4


def test_a_hook_every_so_often_and_at_the_end() -> None:
    made, steps = learner(), []
    train(made, batches, 7, [every(3, lambda: steps.append(made.step), last=7)])
    assert steps == [3, 6, 7]


def test_a_run_writes_metrics_and_checkpoints(tmp_path: Path) -> None:
    run = run_dir(tmp_path)
    run_training(run, learner(), batches, Plan(steps=5, save_every=2))
    metrics = read_metrics(run.path)
    assert [m["step"] for m in metrics] == [1, 2, 3, 4, 5]
    assert {"loss", "items", "lr", "gradient_norm", "step_s"} <= set(metrics[0])
    assert [c.name for c in checkpoints(run.path)] == ["step-000004", "step-000005"]
    assert totals(run.path)["train_s"] == pytest.approx(sum(m["step_s"] for m in metrics))


def test_checkpoints_fall_on_boundaries(tmp_path: Path) -> None:
    saved = []
    run = run_dir(tmp_path)
    hooks = [lambda made, _metrics: saved.append((made.step, len(checkpoints(run.path))))]
    run_training(run, learner(), batches, Plan(steps=8, save_every=3, boundary=2), hooks)
    assert saved == [(1, 1), (2, 1), (3, 2), (4, 2), (5, 2), (6, 2), (7, 2), (8, 2)]
    # that is: at 0, then at 2, 4, 6 (a multiple of the boundary not above save_every), and the end


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_C1_a_signal_ends_at_a_boundary_and_the_run_goes_on_from_there(
    tmp_path: Path, number: signal.Signals
) -> None:
    """A real signal in the middle of step 3, with boundary 2: the run stops after step 4."""

    def interrupted(step: int) -> list[Part]:
        if step == 2:
            os.kill(os.getpid(), number)
        return batches(step)

    run, plan = run_dir(tmp_path), Plan(steps=6, save_every=100, boundary=2, state=Counter())
    made = learner()
    with pytest.raises(
        KeyboardInterrupt, match=r"after step 4 of 6, and saved: .* --resume"
    ) as end:
        run_training(run, made, interrupted, plan)
    assert end.value.exit_code == 128 + number
    assert made.step == 4
    assert [c.name for c in checkpoints(run.path)] == ["step-000000", "step-000004"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    again = learner()
    run_training(run_dir(tmp_path, resume=True), again, batches, plan)
    assert weight(again) == -63
    assert [m["step"] for m in read_metrics(run.path)] == [1, 2, 3, 4, 5, 6]


def test_C1_steps_after_the_last_checkpoint_are_made_again(tmp_path: Path) -> None:
    """Stopped after step 3, saved at 2: the resumed run logs step 3 once, and keeps its state."""
    state, failures = Counter(), [RuntimeError("as if the power had failed")]

    def counted(step: int) -> list[Part]:
        if step == 3 and failures:
            raise failures.pop()
        state.asked += 1
        return batches(step)

    run = run_dir(tmp_path)
    with pytest.raises(RuntimeError, match="power"):
        run_training(run, learner(), counted, Plan(steps=5, save_every=2, state=state))
    again, state.asked = learner(), -100
    plan = Plan(steps=5, save_every=2, state=state)
    run_training(run_dir(tmp_path, resume=True), again, counted, plan)
    assert weight(again) == -31
    assert state.asked == 2 + 3  # as saved at step 2, then steps 3, 4, 5
    assert [m["step"] for m in read_metrics(run.path)] == [1, 2, 3, 4, 5]


def test_ended_at_once_it_saves_nothing_that_is_half_done(tmp_path: Path) -> None:
    """The second signal in the same step: no checkpoint of it, and the one before is whole."""

    def twice(step: int) -> list[Part]:
        if step == 3:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        return batches(step)

    run, plan = run_dir(tmp_path), Plan(steps=6, save_every=2)
    with pytest.raises(KeyboardInterrupt) as end:
        run_training(run, learner(), twice, plan)
    assert not str(end.value)
    assert [c.name for c in checkpoints(run.path)] == ["step-000000", "step-000002"]
    again = learner()
    run_training(run_dir(tmp_path, resume=True), again, batches, plan)
    assert weight(again) == -63


def test_C1_a_disk_that_fills_up_ends_the_run_and_it_goes_on(tmp_path: Path) -> None:
    """From step 4 on the system refuses files above 1 KiB, as a full disk would."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def filling(step: int) -> list[Part]:
        if step == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
        return batches(step)

    run, plan = run_dir(tmp_path), Plan(steps=6, save_every=2)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(StorageError, match=r"cannot be written .* --resume") as refused:
            run_training(run, learner(), filling, plan)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, previous)
    assert "\n" not in str(refused.value)
    assert [c.name for c in checkpoints(run.path)] == ["step-000000", "step-000002"]
    assert verify(checkpoints(run.path)[-1])["step"] == 2
    again = learner()
    run_training(run_dir(tmp_path, resume=True), again, batches, plan)
    assert weight(again) == -63


def test_the_best_checkpoint_stays_and_gives_the_last_weights(tmp_path: Path) -> None:
    """Measured 5, 2, 4, 3 at steps 2, 4, 6, 8: the run ends with the weight after step 4."""
    measured = iter([5.0, 2.0, 4.0, 3.0])
    plan = Plan(
        steps=8,
        save_every=2,
        held_out_loss=lambda: next(measured),
        loop=LoopConfig(keep_last=1),
    )
    run, made = run_dir(tmp_path), learner()
    run_training(run, made, batches, plan)
    assert [c.name for c in checkpoints(run.path)] == ["step-000004", "step-000008"]
    assert weight(made) == -15
    assert run.manifest["best_checkpoint"] == "step-000004"
    lines = read_metrics(run.path)
    assert {m["step"]: m["held_out_loss"] for m in lines if "held_out_loss" in m} == {
        2: 5.0,
        4: 2.0,
        6: 4.0,
        8: 3.0,
    }


def test_an_average_is_measured_and_the_best_one_is_what_the_run_ends_with(tmp_path: Path) -> None:
    """After step 4 it is of -1, -3, -7, -15, each half of the next: -(15 + 7/2 + 3/4 + 1/8) 8/15.

    The weights after step 4 are those of the checkpoint, not the average.
    """
    made, seen, losses = learner(TrainingConfig(ema_decay=0.5)), [], iter([5.0, 2.0, 4.0])

    def measure() -> float:
        seen.append(weight(made))
        return next(losses)

    run = run_dir(tmp_path)
    run_training(run, made, batches, Plan(steps=6, save_every=2, held_out_loss=measure))
    assert seen[:2] == pytest.approx([-7 / 3, -31 / 3])
    assert weight(made) == -15
    with made.averaged():
        assert weight(made) == pytest.approx(-31 / 3)


def test_a_run_goes_on_from_the_checkpoint_that_was_named(tmp_path: Path) -> None:
    plan = Plan(steps=6, save_every=2, loop=LoopConfig(keep_last=9))
    run, straight = run_dir(tmp_path), learner()
    run_training(run, straight, batches, plan)
    again = learner()
    chosen = RunDir.create(run.path, stage="test", config=Config(), resume="step-000002")
    asked = []
    run_training(chosen, again, lambda step: asked.append(step) or batches(step), plan)
    assert asked == [2, 3, 4, 5]
    assert weight(again) == weight(straight) == -63
    assert [m["step"] for m in read_metrics(run.path)] == [1, 2, 3, 4, 5, 6]


def test_the_speed_is_in_the_log(tmp_path: Path) -> None:
    """A step's FLOPs over its seconds, over the machine's measured peak, which is kept."""
    plan = Plan(steps=2, save_every=2, work=Work(tokens=100, flops=1e6))
    run = run_dir(tmp_path)
    run_training(run, learner(), batches, plan)
    peak = open_run(run.path).manifest["matmul_flops_per_s"]
    assert 1e8 < peak < 1e16
    for line in read_metrics(run.path):
        assert line["tokens_per_s"] == pytest.approx(100 / line["step_s"])
        assert line["utilisation"] == pytest.approx(1e6 / line["step_s"] / peak)


def test_no_generator_is_drawn_from_that_a_checkpoint_lacks(
    tmp_path: Path, repository: Path
) -> None:
    """NumPy's own and Python's: nobody saves them, for nobody may use them."""
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    run_training(run_dir(tmp_path), learner(), batches, Plan(steps=3, save_every=1))
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002
    # Python's cannot be watched here, for the checker of types draws from it.
    lines = [
        line
        for path in (repository / "jielong").rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith(("import random", "from random import"))
    ]
    assert set(lines) <= {"from random import Random"}
