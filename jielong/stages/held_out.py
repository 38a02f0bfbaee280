"""The loss on text that is not learned from, measured while a run goes on."""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from jielong.core.device import default_device
from jielong.training.distributed import shares, sum_across
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
        sums = torch.zeros(2, dtype=torch.float64, device=default_device())
        for part in fixed:
            for batch in part.micro_batches:
                for piece, counts in shares(batch):
                    loss = part.objective(module, piece)
                    sums += counts * torch.stack([loss.total, loss.items]).double()
        module.train(was_training)
        total, items = sum_across(sums).tolist()
        return total / items

    return measure
