"""How fast this machine multiplies matrices: what a training step's speed is measured against."""

import time

import torch

SIDE = 1024
SECONDS = 0.25


def matmul_flops_per_s(
    device: torch.device, dtype: torch.dtype = torch.float32, seconds: float = SECONDS
) -> float:
    """The best rate of products of two square matrices within `seconds`, in FLOP/s.

    A product is 2 n^3 FLOPs. The best of many and not their mean: what else runs on the machine can
    only slow one down. No random number is drawn.
    """
    left = torch.ones(SIDE, SIDE, device=device, dtype=dtype)
    right = torch.ones(SIDE, SIDE, device=device, dtype=dtype)
    out = torch.empty(SIDE, SIDE, device=device, dtype=dtype)
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        started = time.perf_counter()
        torch.mm(left, right, out=out)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - started)
    return 2 * SIDE**3 / best
