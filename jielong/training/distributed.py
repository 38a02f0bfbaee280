"""Several processes as one: each takes its rows of a batch, and what they find is added up.

With "ddp" every process holds all weights, and the gradients are summed in one message. With "fsdp"
each holds a part of every weight (FSDP2, arXiv:2304.11277): PyTorch gathers a block's when they are
needed, and sums gradients on the way back. The arithmetic is the same. Alone, nothing of this
happens.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist

from jielong.core.device import default_device
from jielong.core.processes import rank, world_size
from jielong.core.sharded import is_part
from jielong.training.settings import portions


def shares(batch: Any, most: int = 0) -> list[tuple[Any, float]]:  # noqa: ANN401 - any batch
    """This process's rows of a batch in pieces of at most `most` rows, and what each counts.

    That is 1; or 0 for rows which other processes compute, so that all make equally many passes:
    where weights are gathered piece by piece, every process has to take part each time.
    """
    if world_size() == 1:
        return [(piece, 1.0) for piece in portions(batch, most)]
    fair = -(-len(portions(batch, 1)) // world_size())
    parts = portions(batch, fair)
    has_own = rank() < len(parts)
    pieces = portions(parts[rank() if has_own else 0], most)
    passes = -(-fair // most) if most else 1
    idle = [(pieces[0], 0.0)] * (passes - len(pieces))
    return [(piece, float(has_own)) for piece in pieces] + idle


def sum_across(tensor: Tensor) -> Tensor:
    """The sum of one tensor over all processes."""
    if world_size() > 1:
        dist.all_reduce(tensor)
    return tensor


def largest_across(tensor: Tensor) -> Tensor:
    """The largest of one tensor over all processes, number by number."""
    if world_size() > 1:
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
    return tensor


def anywhere(number: int) -> int:
    """The largest of a number that each process has."""
    if world_size() == 1:
        return number
    return int(largest_across(torch.tensor(number, device=default_device())).item())


def sum_gradients(gradients: Iterable[Tensor]) -> None:
    """Replace each gradient by its sum over all processes, in one message."""
    if world_size() == 1:
        return
    gradients = list(gradients)
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    pieces = flat.split([gradient.numel() for gradient in gradients])
    for gradient, piece in zip(gradients, pieces, strict=True):
        gradient.copy_(piece.view_as(gradient))


def shard(module: nn.Module, blocks: Iterable[nn.Module]) -> None:
    """From now on hold a part of each weight; what a block needs is gathered when it runs.

    Sums of gradients stay sums: the learner divides them by the count of all processes.
    """
    from torch.distributed.fsdp import FSDPModule, fully_shard

    for part in (*blocks, module):
        fully_shard(part, reshard_after_forward=True)
        assert isinstance(part, FSDPModule), "fully_shard makes the module one"
        part.set_gradient_divide_factor(1.0)
        part.set_force_sum_reduction_for_comms(True)


@contextmanager
def gathered(module: nn.Module) -> Iterator[None]:
    """Inside the block the module's own weights are whole, for what does not call it as a whole."""
    if not is_sharded(module):
        yield
        return
    from torch.distributed.fsdp import FSDPModule

    assert isinstance(module, FSDPModule)
    module.unshard()
    yield
    module.reshard()


def is_sharded(module: nn.Module) -> bool:
    """Whether this process holds only a part of the weights."""
    return any(is_part(parameter) for parameter in module.parameters())
