"""Muon: our step beside `torch.optim.Muon`'s, on the matrices in the small recipe's four blocks.

PyTorch's multiplies in bfloat16, one matrix at a time; ours in float32, all matrices of one shape
at once and on their Gram matrices. Run it with `jielong bench muon`, and again with
ONEDNN_MAX_CPU_ISA=AVX2 to see a processor without arithmetic in bfloat16.
"""

import dataclasses
import statistics
import time
from pathlib import Path

import torch

from jielong.core import config
from jielong.model.transformer import Transformer
from jielong.stages.pretrain import PretrainConfig
from jielong.training.muon import Muon

RECIPE = Path(__file__).parents[1] / "recipes" / "small" / "pretrain.toml"
ROUNDS = 7


def seconds(optimizer: torch.optim.Optimizer) -> float:
    """The time of one step, its gradients given."""
    start = time.perf_counter()
    optimizer.step()
    return time.perf_counter() - start


def main() -> None:
    """Alternate the two, so that both meet the same machine, and print medians and their ratio."""
    torch.manual_seed(0)
    shape = config.load(PretrainConfig, RECIPE).model
    model = Transformer(dataclasses.replace(shape, vocab_size=8))
    matrices = [weight for weight in model.blocks.parameters() if weight.ndim == 2]
    optimizers = {}
    for name, kind in (("ours", Muon), ("torch.optim.Muon", torch.optim.Muon)):
        weights = [torch.nn.Parameter(weight.detach().clone()) for weight in matrices]
        for weight in weights:
            weight.grad = torch.randn_like(weight)
        optimizers[name] = kind(weights, lr=0.01)
    times = {name: [] for name in optimizers}
    for _ in range(ROUNDS + 1):
        for name, optimizer in optimizers.items():
            times[name].append(seconds(optimizer))
    medians = {name: statistics.median(found[1:]) for name, found in times.items()}
    for name, median in medians.items():
        print(f"{name:18} {1000 * median:8.1f} ms a step of {len(matrices)} matrices")
    ratio = medians["torch.optim.Muon"] / medians["ours"]
    print(f"ratio {ratio:.1f} on {torch.get_num_threads()} threads, torch {torch.__version__}")


if __name__ == "__main__":
    main()
