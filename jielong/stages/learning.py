"""What every stage that trains sets up alike, from the tables `[optimizer]` and `[training]`."""

from torch import nn

from jielong.core.device import default_device
from jielong.core.processes import world_size
from jielong.model.block import Block
from jielong.model.transformer import recompute_activations
from jielong.training.distributed import shard
from jielong.training.learner import Learner
from jielong.training.optimizers import OptimizerConfig, Schedule, make_optimizers
from jielong.training.precision import precision_on
from jielong.training.settings import TrainingConfig


def check_machine(training: TrainingConfig) -> None:
    """Refuse what this machine cannot do, before a run is begun."""
    precision_on(training.precision, default_device())


def make_learner(
    model: nn.Module, optimizer: OptimizerConfig, training: TrainingConfig, steps: int
) -> Learner:
    """What moves `model` over `steps` steps: its parameters that take a gradient."""
    if training.activation_checkpointing:
        recompute_activations(model)
    if training.parallel == "fsdp" and world_size() > 1:
        shard(model, [module for module in model.modules() if isinstance(module, Block)])
    return Learner(
        model,
        make_optimizers(model, optimizer),
        Schedule.of(optimizer, steps),
        optimizer.clip,
        training=training,
    )
