"""How long a training step takes on this machine: some are made, and a line is put through them."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from jielong.core.device import default_device
from jielong.core.seeds import derive
from jielong.model.config import ModelConfig
from jielong.model.sizes import TRAINING, forward_flops
from jielong.model.transformer import Transformer
from jielong.objectives.language_model import TokenBatch, next_token_loss
from jielong.stages.dial import BATCH, WINDOW, optimizer_of
from jielong.stages.learning import make_learner
from jielong.training.learner import Part
from jielong.training.settings import TrainingConfig

_FEWEST = 3  # steps that are timed, after one that warms up


@dataclass(frozen=True)
class Clock:
    """Seconds a step: `fixed` + `per_flop` times its FLOPs."""

    fixed: float
    per_flop: float

    def seconds(self, shape: ModelConfig) -> float:
        """One step of a model of the family."""
        return self.fixed + self.per_flop * step_flops(shape)


def step_flops(shape: ModelConfig) -> int:
    """FLOPs of one step, forward and back."""
    return TRAINING * forward_flops(shape, WINDOW) * BATCH * WINDOW


def time_step(shape: ModelConfig, seconds: float, training: TrainingConfig | None = None) -> float:
    """The median time of a whole step of training, from about so many seconds of them."""
    torch.manual_seed(derive(0, "calibration"))
    model = Transformer(shape).to(default_device())
    learner = make_learner(model, optimizer_of(shape.width), training or TrainingConfig(), 1)
    ids = torch.randint(shape.vocab_size, (BATCH, WINDOW + 1), device=default_device())
    part = Part([TokenBatch(ids, torch.ones_like(ids, dtype=torch.bool))], next_token_loss)
    learner.update(part)
    times: list[float] = []
    while len(times) < _FEWEST or sum(times) + times[-1] < seconds:
        started = time.perf_counter()
        learner.update(part)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def fit_clock(flops: Sequence[float], seconds: Sequence[float]) -> Clock:
    """The line with the smallest squares of relative errors; a fixed cost is never negative."""
    times = np.array(seconds)
    terms = np.stack([np.ones_like(times), np.array(flops, dtype=np.float64)], axis=1)
    terms /= times[:, None]
    fixed, per_flop = np.linalg.lstsq(terms, np.ones_like(times), rcond=None)[0]
    if fixed < 0:
        return Clock(0.0, float(terms[:, 1].sum() / np.square(terms[:, 1]).sum()))
    return Clock(float(fixed), float(per_flop))


def calibrate(shapes: Sequence[ModelConfig], seconds: float) -> Clock:
    """The clock of this machine, from about so many seconds of training models of these shapes."""
    times = [time_step(shape, seconds / len(shapes)) for shape in shapes]
    return fit_clock([step_flops(shape) for shape in shapes], times)
