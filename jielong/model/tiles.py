"""Going over a tensor in tiles that stay in a core's cache between one operation and the next.

An operation on a whole activation reads it from memory and writes it back. Several in a row on one
tile, then on the next, do so once, which on a processor is most of what they cost.
"""

from torch import Tensor

SIZE = 2**17
"""Numbers in a tile: 512 KiB in float32, so that a few fit the second-level cache."""


def tiles(x: Tensor) -> list[slice]:
    """Slices of the first axis, each of about `SIZE` numbers; all in one on other devices."""
    if x.device.type != "cpu" or x.numel() <= SIZE:
        return [slice(None)]
    step = max(1, SIZE * len(x) // x.numel())
    return [slice(start, start + step) for start in range(0, len(x), step)]
