"""Tensors of which each process holds a part (PyTorch's `DTensor`); all others are left alone."""

from torch import Tensor

from jielong.core.processes import world_size


def is_part(tensor: Tensor) -> bool:
    """Whether other processes hold the rest of this tensor."""
    if world_size() == 1:
        return False
    from torch.distributed.tensor import DTensor

    return isinstance(tensor, DTensor)


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor; every process has to ask for it."""
    return tensor.full_tensor() if is_part(tensor) else tensor  # pyright: ignore


def local(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor, in the same memory."""
    return tensor.to_local() if is_part(tensor) else tensor  # pyright: ignore


def rejoined(part: Tensor, like: Tensor) -> Tensor:
    """The tensor of which this process holds `part`, as it holds its part of `like`."""
    if not is_part(like):
        return part
    from torch.distributed.tensor import DTensor

    assert isinstance(like, DTensor)
    return DTensor.from_local(
        part, like.device_mesh, like.placements, shape=like.shape, stride=like.stride()
    )


def own_part(tensor: Tensor, like: Tensor) -> Tensor:
    """Of a whole `tensor` the part that this process would hold if it were held as `like` is."""
    if not is_part(like):
        return tensor
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(like, DTensor)
    # Without a source nothing is sent: each process cuts its part out of its own copy.
    placed = distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)
    return placed.to_local()
