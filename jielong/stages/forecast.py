"""What a training run will take and reach, said before it starts; what cannot fit is refused."""

from dataclasses import dataclass, field, replace

import torch

from jielong.core.config import check_positive
from jielong.core.device import default_device
from jielong.core.errors import ConfigError
from jielong.core.progress import say
from jielong.core.resources import memory_limit_bytes, rss_bytes
from jielong.model.config import ModelConfig
from jielong.model.sizes import NUMBER, memory
from jielong.training.optimizers import OptimizerConfig
from jielong.training.settings import TrainingConfig

ACTIVATIONS = 0.74
"""How much of what the forward pass keeps for the backward pass is there at the peak, beside what
the optimizer then takes; measured, as the next two are, over depths 1 to 16 and vocabularies from
512 to 16,384, with micro-batches, with activation checkpointing and with neither."""
STEPPING = 3.8
"""What comes and goes in the optimizer's step, in units of the weights."""
LIBRARIES = 121_000_000
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


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What of a recipe decides how much memory its training takes: `tokens` go through the model
    at a time."""

    shape: ModelConfig
    optimizer: OptimizerConfig
    tokens: int
    training: TrainingConfig = field(default_factory=TrainingConfig)

    @classmethod
    def of(
        cls,
        shape: ModelConfig,
        optimizer: OptimizerConfig,
        training: TrainingConfig,
        batch: int,
        window: int,
    ) -> "Demand":
        """That of a step of `batch` rows of `window` tokens, in micro-batches if there are any."""
        rows = min(batch, training.micro_batch or batch)
        return cls(shape=shape, optimizer=optimizer, tokens=rows * window, training=training)


def training_bytes(demand: Demand) -> int:
    """What training takes beside the process as it is."""
    shape = demand.shape
    kept = memory(shape, optimizer=demand.optimizer.kind)
    average = kept.weights if demand.training.ema_decay else 0
    passing = STEPPING * kept.weights + ACTIVATIONS * _activations(demand) * demand.tokens
    return LIBRARIES + kept.training + average + round(passing)


def _activations(demand: Demand) -> int:
    """Bytes a token that are kept for the backward pass; checkpointing keeps what goes into each
    block, and all of one block at a time."""
    shape = demand.shape
    if not demand.training.activation_checkpointing:
        return memory(shape).activations
    one = memory(replace(shape, n_layer=1)).activations
    return one + NUMBER * shape.width * (shape.n_layer - 1)


def foresee(prediction: Prediction | None, demand: Demand) -> None:
    """Say what a run was predicted to take and reach, before it starts.

    Raises `ConfigError` when its steps need more memory than there is.
    """
    if prediction is not None:
        say(prediction.describe())
    needed, limit = needed_and_limit(demand)
    if needed > limit:
        raise ConfigError(
            f"model: training it needs about {needed / GB:.1f} GB of memory for "
            f"{demand.tokens} tokens at a time, and there are {limit / GB:.1f} GB: set "
            "training.micro_batch, or make batch, window or the model smaller"
        )


def needed_and_limit(demand: Demand, process_bytes: int | None = None) -> tuple[int, int]:
    """Bytes that training needs where it will run, and bytes that are there.

    On a CPU that is together with what the process has without a model: now, unless it is given.
    """
    needed, device = training_bytes(demand), default_device()
    if device.type == "cuda":
        return needed, torch.cuda.get_device_properties(device).total_memory
    return needed + (rss_bytes() if process_bytes is None else process_bytes), memory_limit_bytes()
