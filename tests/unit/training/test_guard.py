"""The rule by pencil, and what a run does when its loss breaks away."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from jielong.core.errors import TrainingDivergedError
from jielong.core.run_dir import RunDir, open_run, read_metrics
from jielong.objectives.loss import Loss
from jielong.training.checkpoint import checkpoints
from jielong.training.guard import Guard, GuardConfig
from jielong.training.learner import Learner, Part
from jielong.training.loop import Plan, run_training
from jielong.training.optimizers import Schedule
from jielong.training.plan import LoopConfig

WINDOW = 4


@dataclass(frozen=True, kw_only=True)
class Config:
    seed: int = 0


def run_dir(path: Path, *, resume: bool = False) -> RunDir:
    return RunDir.create(path / "run", stage="test", config=Config(), resume=resume)


def guard(path: Path, losses: list[float], **changes: float) -> Guard:
    """One that has seen these losses."""
    made = Guard(GuardConfig(window=WINDOW, **changes), run_dir(path), "loss", warmup=3)
    for loss in losses:
        made.check(0, {"loss": loss})
    return made


@pytest.mark.parametrize(
    ("losses", "fine", "exploded"),
    [
        ([3.0, 3.0, 3.0, 3.0], 6.0, 6.01),  # twice the median
        ([9.0, 3.0, 3.0, 3.0, 3.0], 6.0, 6.01),  # the 9 is no longer among the last four
        ([0.1, 0.1, 0.1, 0.1], 2.0, 2.01),  # of a median below one nat, twice one nat
        ([1.0, 2.0, 3.0, 4.0], 12.5, 12.51),  # median 2.5, median deviation 1: 2.5 + 10
    ],
)
def test_a_loss_explodes_by_the_rule(
    tmp_path: Path, losses: list[float], fine: float, exploded: float
) -> None:
    made = guard(tmp_path, losses)
    made.check(2, {"loss": 1e9})  # the warm-up is not over: known, and not refused
    made = Guard(made.config, made.run, "loss", warmup=3)
    made.recall([{"loss": loss} for loss in losses])
    with pytest.raises(TrainingDivergedError, match=r"step 6: loss is .* the last 4 is"):
        made.check(5, {"loss": exploded})
    made.check(5, {"loss": fine})


def test_what_the_rule_needs(tmp_path: Path) -> None:
    guard(tmp_path, [3.0] * 3).check(9, {"loss": 99.0})  # too few are known
    Guard(GuardConfig(window=2), run_dir(tmp_path, resume=True), None).check(9, {"loss": math.nan})
    off = Guard(GuardConfig(window=2, factor=0), run_dir(tmp_path, resume=True), "loss")
    off.recall([{"loss": 1.0}, {"other": 1.0}, {"loss": 1.0}])
    off.check(9, {"loss": 1e9})
    with pytest.raises(TrainingDivergedError, match="step 10: loss is nan"):
        off.check(9, {"loss": math.nan})


@pytest.mark.parametrize(("name", "value"), [("factor", 1.0), ("window", 1), ("most", -1)])
def test_settings_that_cannot_guard_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name}: "):
        GuardConfig(**{name: value})


# ---- through the loop: SGD on `loss = x * w`, so every batch x moves w by -x, whatever w is.


def learner() -> Learner:
    module = nn.Linear(1, 1, bias=False)
    nn.init.ones_(module.weight)
    return Learner(module, [torch.optim.SGD(module.parameters(), lr=1.0)], Schedule(99), 0.0)


def product(module: nn.Module, batch: Tensor) -> Loss:
    return Loss(module(batch).sum(), torch.tensor(1.0))


def source(values: dict[int, float], asked: list[int] | None = None):
    """Batches of 0.01, but for those that are given."""

    def batches(step: int) -> list[Part]:
        if asked is not None:
            asked.append(step)
        return [Part([torch.tensor([[values.get(step, 0.01)]])], product)]

    return batches


def plan(steps: int = 12, **changes: float) -> Plan:
    loop = LoopConfig(guard=GuardConfig(window=WINDOW, **changes))
    return Plan(steps=steps, save_every=5, loop=loop)


def weight(made: Learner) -> float:
    return round(made.module.weight.item(), 4)


def test_a_run_goes_back_and_leaves_out_what_led_there(tmp_path: Path) -> None:
    """Step 7 (batch 6) moves the weight a little too far below 0, where step 8 has a loss of 50:
    back to step 5, and steps 7 and 8 are left out."""
    run, made, asked = run_dir(tmp_path), learner(), []
    run_training(run, made, source({6: 1.0, 7: -1000.0}, asked), plan())
    assert asked == [0, 1, 2, 3, 4, 5, 6, 7, 5, 6, 7, 8, 9, 10, 11]
    assert weight(made) == round(1 - 10 * 0.01, 4)  # ten ordinary steps, two left out
    lines = read_metrics(run.path)
    assert [line["step"] for line in lines] == list(range(1, 13))
    assert [line["step"] for line in lines if "skipped" in line] == [7, 8]
    [event] = open_run(run.path).manifest["diverged"]
    assert event["step"] == 8
    assert event["back_to"] == 5
    assert event["left_out"] == [7, 8]
    assert event["reason"].startswith("loss is ")


def test_what_is_not_finite_goes_back_too(tmp_path: Path) -> None:
    run, made = run_dir(tmp_path), learner()
    run_training(run, made, source({5: math.inf}), plan())
    [event] = open_run(run.path).manifest["diverged"]
    assert event == {
        "step": 6,
        "reason": "the gradient's norm is inf",
        "back_to": 5,
        "left_out": [6],  # step 5 is in the checkpoint
    }
    assert weight(made) == round(1 - 11 * 0.01, 4)


def test_the_first_steps_have_a_place_to_go_back_to(tmp_path: Path) -> None:
    run, made = run_dir(tmp_path), learner()
    run_training(run, made, source({0: math.nan}), plan(steps=3))
    assert open_run(run.path).manifest["diverged"][0]["back_to"] == 0
    assert weight(made) == round(1 - 2 * 0.01, 4)


def test_the_third_time_ends_the_run(tmp_path: Path) -> None:
    run, made = run_dir(tmp_path), learner()
    bad = {2: math.inf, 6: math.nan, 9: math.inf}
    with pytest.raises(TrainingDivergedError, match=r"step 10: .* 3 times \(steps 3, 7, 10\)"):
        run_training(run, made, source(bad), plan())
    assert checkpoints(run.path)[-1].name == "step-000005"
    assert made.step == 5
    # Resumed, it leaves those out and ends; one more would have ended it at once.
    again = learner()
    run_training(run_dir(tmp_path, resume=True), again, source(bad), plan())
    assert weight(again) == round(1 - 6 * 0.01, 4)  # 2, 3, 6, 7, 9, 10 are left out
    assert len(json.loads((run.path / "manifest.json").read_text())["diverged"]) == 3


def test_a_run_that_never_goes_back_ends_at_once(tmp_path: Path) -> None:
    run = run_dir(tmp_path)
    with pytest.raises(TrainingDivergedError, match="step 3: the gradient's norm is nan"):
        run_training(run, learner(), source({2: math.nan}), plan(most=0))
    assert "diverged" not in open_run(run.path).manifest


@pytest.mark.parametrize("cut", [6, 8, 10])
def test_C1_killed_around_a_divergence_it_ends_the_same(tmp_path: Path, cut: int) -> None:
    """Cut before the divergence is seen, in the repeated steps, and after them."""
    bad = {6: 1.0, 7: -1000.0}
    straight = learner()
    run_training(run_dir(tmp_path / "straight"), straight, source(bad), plan())
    seen: list[int] = []

    def cut_off(step: int) -> list[Part]:
        seen.append(step)
        if len(seen) == cut:
            raise RuntimeError("as if the power had failed")
        return source(bad)(step)

    with pytest.raises(RuntimeError, match="power"):
        run_training(run_dir(tmp_path / "cut"), learner(), cut_off, plan())
    again = learner()
    run_training(run_dir(tmp_path / "cut", resume=True), again, source(bad), plan())
    assert torch.equal(again.module.weight, straight.module.weight)
    manifests = [open_run(tmp_path / name / "run").manifest for name in ("straight", "cut")]
    assert manifests[0]["diverged"] == manifests[1]["diverged"]


class Counter:
    """A stage's own state, which goes back as well."""

    def __init__(self) -> None:
        self.asked = 0

    def to_dict(self) -> dict[str, int]:
        return {"asked": self.asked}

    def from_dict(self, values) -> None:
        self.asked = values["asked"]


def test_a_stage_goes_back_to_a_boundary_with_its_state(tmp_path: Path) -> None:
    """Boundary 4 and saves at 4, 8, 12: after step 11 diverged the run goes on from step 8."""
    state, values = Counter(), {10: math.inf}

    def batches(step: int) -> list[Part]:
        state.asked += 1
        return source(values)(step)

    loop = LoopConfig(guard=GuardConfig(window=WINDOW))
    run = run_dir(tmp_path)
    run_training(
        run, learner(), batches, Plan(steps=12, save_every=5, boundary=4, state=state, loop=loop)
    )
    assert open_run(run.path).manifest["diverged"][0]["back_to"] == 8
    assert state.asked == 12  # also for those left out: a later batch may rest on it
