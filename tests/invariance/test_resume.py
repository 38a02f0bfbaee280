"""A run that was stopped and resumed is, bit for bit, the run that was left alone."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from jielong.core.run_dir import RunDir, read_metrics
from jielong.model.lora import LoraConfig, add_adapters
from jielong.objectives.language_model import TokenBatch, next_token_loss
from jielong.training.checkpoint import latest, resume
from jielong.training.learner import Learner, Part
from jielong.training.loop import Plan, run_training
from jielong.training.optimizers import OptimizerConfig, Schedule, make_optimizers
from jielong.training.precision import Precision
from jielong.training.settings import TrainingConfig
from tests.tiny import decoder, random_ids

pytestmark = pytest.mark.invariance

STEPS = 9


@dataclass(frozen=True, kw_only=True)
class Config:
    kind: str


class PowerCutError(Exception):
    """What ends a run in the middle."""


def learner(kind: str) -> Learner:
    """With dropout, so that the random numbers have to go on where they stopped.

    "lora": adapters, their average, and a scale of the loss that falls and rises meanwhile.
    """
    model = decoder(dropout=0.2).train()
    training = TrainingConfig()
    if kind == "lora":
        kind, training = "adamw", TrainingConfig(ema_decay=0.8, micro_batch=3)
        add_adapters(model, LoraConfig(rank=2, dropout=0.2))
    config = OptimizerConfig(kind=kind, lr=1e-2, weight_decay=0.1, warmup_steps=3, decay_share=0.5)
    optimizers = make_optimizers(model, config)
    made = Learner(model, optimizers, Schedule.of(config, STEPS), training=training)
    if made.average is not None:
        made.precision = Precision("fp16", "cpu")
    return made


def batches(step: int) -> list[Part]:
    ids = random_ids(4, 10, seed=step)
    return [Part([TokenBatch(ids, torch.ones_like(ids, dtype=torch.bool))], next_token_loss)]


def cut_before(last: int) -> Callable[[int], list[Part]]:
    def source(step: int) -> list[Part]:
        if step == last:
            raise PowerCutError
        return batches(step)

    return source


def run(path: Path, kind: str, source: Callable[[int], list[Part]]) -> Learner:
    """Start the run at `path` or go on with it; checkpoints at steps 2, 4, 6 .."""
    directory = RunDir.create(path, stage="test", config=Config(kind=kind), resume=True)
    torch.manual_seed(0)
    made = learner(kind)
    run_training(directory, made, source, Plan(steps=STEPS, save_every=2))
    return made


def content(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in latest(path).iterdir()}


def losses(path: Path) -> list[tuple[float, float, float]]:
    return [(m["step"], m["loss"], m.get("gradient_norm", -1.0)) for m in read_metrics(path)]


@pytest.mark.parametrize("kind", ["sgd", "momentum", "adam", "adamw", "muon", "lora"])
@pytest.mark.parametrize("cuts", [[4], [5], [1, 3, 8]])
def test_C1_a_resumed_run_is_the_straight_run(tmp_path: Path, kind: str, cuts: list[int]) -> None:
    """Cut at a checkpoint, between two, and three times; every byte of the last checkpoint."""
    run(tmp_path / "straight", kind, batches)
    for last in cuts:
        with pytest.raises(PowerCutError):
            run(tmp_path / "cut", kind, cut_before(last))
        torch.rand(7)  # whatever else draws random numbers meanwhile
    run(tmp_path / "cut", kind, batches)
    assert content(tmp_path / "cut") == content(tmp_path / "straight")
    assert losses(tmp_path / "cut") == losses(tmp_path / "straight")


def test_two_straight_runs_are_one(tmp_path: Path) -> None:
    for name in ("one", "two"):
        run(tmp_path / name, "muon", batches)
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_what_a_step_moves_is_in_the_checkpoint(tmp_path: Path) -> None:
    """The average and the scale are there, and come back as they were."""
    made = run(tmp_path / "run", "lora", batches)
    assert made.average is not None
    assert 0 < made.average.updates < STEPS, "no step overflowed, or all did"
    again = learner("lora")
    resume(tmp_path / "run", again)
    saved, found = made.to_tensors(), again.to_tensors()
    assert saved.keys() == found.keys() > {"loss_scale", "average.updates"}
    assert all(torch.equal(saved[name], found[name]) for name in saved)
