"""Sparse attention beside dense attention: time and memory of one layer, forward and backward.

Dense attention is `scaled_dot_product_attention(is_causal=True)`, which on a processor goes over
the scores in tiles, and the textbook's, which stores all T x T of them. Times are medians of
processor seconds on one thread, the ways taking turns, so that a busy machine changes their ratios
little. Memory is measured in a new process for each cell: the peak of its resident memory during
the second pass (the first, on few positions, loads the libraries) above what it held before, when
q, k, v and the gradient of the output were already there. In parentheses stands what no way can do
without, the output and three gradients.

    jielong bench sparse-attention [--longest 8192] [--rounds 5]
"""

import argparse
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from jielong.model.patterns import Pattern
from jielong.model.sparse_attention import sparse_attention

B, H, D = 1, 8, 64
SHORTEST = 512
MIB = 2**20
Way = Callable[[Tensor, Tensor, Tensor], Tensor]


def textbook(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax of all scores, those of later keys struck out."""
    scores = q @ k.mT / math.sqrt(D)
    later = torch.ones(q.shape[2], q.shape[2], dtype=torch.bool).triu(1)
    return scores.masked_fill(later, -torch.inf).softmax(dim=-1) @ v


def sparse(pattern: Pattern) -> Way:
    """Ours under a pattern."""
    return lambda q, k, v: sparse_attention(q, k, v, pattern)


WAYS: dict[str, Way] = {
    "dense": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
    "textbook": textbook,
    "strided:64": sparse(Pattern("strided", 64)),
    "fixed:64:8": sparse(Pattern("fixed", 64, 8)),
    "sliding:64": sparse(Pattern("sliding", 64)),
}


def tensors(length: int) -> tuple[list[Tensor], Tensor]:
    """q, k, v and the gradient of the output."""
    torch.manual_seed(0)
    inputs = [torch.randn(B, H, length, D, requires_grad=True) for _ in range(3)]
    return inputs, torch.randn(B, H, length, D)


def run(way: Way, inputs: list[Tensor], gradient: Tensor) -> None:
    """Forward and backward."""
    torch.autograd.grad(way(*inputs), inputs, gradient)


def seconds(way: Way, inputs: list[Tensor], gradient: Tensor) -> float:
    """The processor time of one pass."""
    start = time.process_time()
    run(way, inputs, gradient)
    return time.process_time() - start


def resident_bytes(field: str) -> int:
    """This process's memory: VmRSS now, VmHWM at its peak."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise ValueError(field)


def added_bytes(name: str, length: int) -> int:
    """The peak of one pass above what stood before it, in this process."""
    run(WAYS[name], *tensors(SHORTEST // 4))
    inputs, gradient = tensors(length)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
    before = resident_bytes("VmRSS")
    run(WAYS[name], inputs, gradient)
    return resident_bytes("VmHWM") - before


def in_new_process(name: str, length: int) -> int:
    """`added_bytes` where nothing ran before; what is freed goes back to the system at once."""
    command = [sys.executable, __file__, "--added", name, str(length)]
    settings = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(command, capture_output=True, check=True, text=True, env=settings)
    return int(done.stdout)


def measure(length: int, rounds: int) -> None:
    """Print one length's lines."""
    inputs, gradient = tensors(length)
    times: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(rounds + 1):
        for name, way in WAYS.items():
            times[name].append(seconds(way, inputs, gradient))
    medians = {name: statistics.median(found[1:]) for name, found in times.items()}
    added = {name: in_new_process(name, length) for name in WAYS}
    needed = 4 * inputs[0].nbytes / MIB
    for name in WAYS:
        print(
            f"{length:6} {name:11} {1000 * medians[name]:9.1f} ms {added[name] / MIB:8.1f} MiB"
            f" ({needed:5.1f})    of dense: {medians[name] / medians['dense']:6.2f} time"
            f" {added[name] / added['dense']:6.2f} memory    of textbook:"
            f" {medians[name] / medians['textbook']:6.3f} time"
            f" {added[name] / added['textbook']:6.3f} memory",
            flush=True,
        )


def main() -> None:
    """Print a line for each length and way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--longest", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--added", nargs=2, metavar=("WAY", "LENGTH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.added:
        print(added_bytes(options.added[0], int(options.added[1])))
        return
    print(f"B={B} H={H} D={D} float32, one thread, torch {torch.__version__}")
    length = SHORTEST
    while length <= options.longest:
        measure(length, options.rounds)
        length *= 2


if __name__ == "__main__":
    main()
