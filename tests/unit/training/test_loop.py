import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from jielong.core.run_dir import RunDir, read_metrics
from jielong.objectives.loss import Loss
from jielong.training.checkpoint import checkpoints
from jielong.training.learner import Learner, Part
from jielong.training.loop import Plan, every, run_training, totals, train
from jielong.training.optimizers import Schedule


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


def learner() -> Learner:
    module = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(module.weight)
    return Learner(module, [torch.optim.SGD(module.parameters(), lr=1.0)], Schedule(100), 0.0)


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
    assert saved == [(1, 0), (2, 0), (3, 1), (4, 1), (5, 2), (6, 2), (7, 2), (8, 2)]
    # that is: at 2, 4, 6 (a multiple of the boundary not above save_every), and at the end


def test_C1_ctrl_c_ends_at_a_boundary_and_the_run_goes_on_from_there(tmp_path: Path) -> None:
    """A real SIGINT in the middle of step 3, with boundary 2: the run stops after step 4."""

    def interrupted(step: int) -> list[Part]:
        if step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return batches(step)

    run, plan = run_dir(tmp_path), Plan(steps=6, save_every=100, boundary=2, state=Counter())
    made = learner()
    with pytest.raises(KeyboardInterrupt):
        run_training(run, made, interrupted, plan)
    assert made.step == 4
    assert [c.name for c in checkpoints(run.path)] == ["step-000004"]
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
