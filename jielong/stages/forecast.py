"""What a training run will take and reach, said before it starts; what cannot fit is refused."""

from dataclasses import dataclass

import torch

from jielong.core.config import check_positive
from jielong.core.device import default_device
from jielong.core.errors import ConfigError
from jielong.core.progress import say
from jielong.core.resources import memory_limit_bytes, rss_bytes
from jielong.model.config import ModelConfig
from jielong.model.sizes import NUMBER, memory
from jielong.training.optimizers import OptimizerConfig

PASSING = 0.4
"""What comes and goes within a step, in units of what the forward pass keeps for the backward one;
measured, as the next two are, over depths 1 to 6 and vocabularies from 512 to 16,384."""
SCORES = 2
"""Arrays of scores over the vocabulary that come and go beside it: their softmax, their slope."""
LIBRARIES = 100_000_000
"""Bytes that PyTorch's libraries take when the first step is made."""
MB, GB = 1e6, 1e9


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a plan said of its run: on which machine, the seconds of training, the peak memory, and
    the loss on held-out text."""

    machine: str
    seconds: float
    memory_mb: float
    bits_per_byte: float

    def __post_init__(self) -> None:
        """Refuse what nobody can have predicted."""
        check_positive(self, "seconds", "memory_mb", "bits_per_byte")

    def describe(self) -> str:
        """One line for a person."""
        return (
            f"predicted: {duration(self.seconds)} of training, {self.memory_mb / 1000:.2f} GB of "
            f"memory, {self.bits_per_byte:.3f} bits per byte of held-out text ({self.machine})"
        )


def duration(seconds: float) -> str:
    """Such as 14.2 min."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def training_bytes(shape: ModelConfig, optimizer: OptimizerConfig, tokens: int) -> int:
    """What training takes beside the process as it is, with steps of so many tokens."""
    kept = memory(shape, optimizer="muon" if optimizer.kind == "muon" else "adamw")
    scores = SCORES * NUMBER * shape.vocab_size
    return LIBRARIES + kept.training + round((1 + PASSING) * kept.activations + scores) * tokens


def foresee(
    prediction: Prediction | None, shape: ModelConfig, optimizer: OptimizerConfig, tokens: int
) -> None:
    """Say what a run was predicted to take and reach, before it starts.

    Raises `ConfigError` when a step of so many tokens needs more memory than there is.
    """
    if prediction is not None:
        say(prediction.describe())
    needed, limit = needed_and_limit(shape, optimizer, tokens)
    if needed > limit:
        raise ConfigError(
            f"model: training it needs about {needed / GB:.1f} GB of memory in steps of {tokens} "
            f"tokens, and there are {limit / GB:.1f} GB: make batch, window or the model smaller"
        )


def needed_and_limit(
    shape: ModelConfig, optimizer: OptimizerConfig, tokens: int, process_bytes: int | None = None
) -> tuple[int, int]:
    """Bytes that training needs where it will run, and bytes that are there.

    On a CPU that is together with what the process has without a model: now, unless it is given.
    """
    needed, device = training_bytes(shape, optimizer, tokens), default_device()
    if device.type == "cuda":
        return needed, torch.cuda.get_device_properties(device).total_memory
    return needed + (rss_bytes() if process_bytes is None else process_bytes), memory_limit_bytes()
