"""The loss on text that is not learned from, measured while a run goes on."""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from jielong.training.learner import Part

BATCHES = 16


def held_out_loss(module: nn.Module, parts: Callable[[int], Part]) -> Callable[[], float]:
    """A function that measures the mean loss over the first `BATCHES` of `parts`.

    It draws no random number of the training's: dropout is off, and the batches are always the
    same.
    """
    fixed: Sequence[Part] = [parts(number) for number in range(BATCHES)]

    @torch.no_grad()
    def measure() -> float:
        was_training = module.training
        module.eval()
        losses = [part.objective(module, batch) for part in fixed for batch in part.micro_batches]
        module.train(was_training)
        total = sum(loss.total.item() for loss in losses)
        return total / sum(loss.items.item() for loss in losses)

    return measure
