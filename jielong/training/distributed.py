"""Several processes as one: sums across them, and nothing at all when there is only one."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch import distributed as dist


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's number among them."""
    return dist.get_rank() if world_size() > 1 else 0


def sum_across(tensor: Tensor) -> Tensor:
    """The sum of one tensor over all processes."""
    if world_size() > 1:
        dist.all_reduce(tensor)
    return tensor


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
