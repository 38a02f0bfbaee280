"""Our whole training step beside the same with its blocks compiled (`compile = true`).

    jielong bench compiled [--shape small] [--rounds 9] [--threads N]

Three shapes: the small recipe as it is, Muon and all, and the 12M and 1M of the peers' comparison.
The two take turns; medians of wall-clock time, on one thread of that thread's own time. What
compiling costs is the first step's time less a later one's, with no kernels kept from before, and
is set against what the steps of six minutes save.
"""

import argparse
import dataclasses
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import torch
from shapes import SHAPES, seconds
from torch._inductor.utils import fresh_inductor_cache

from jielong.core import config
from jielong.core.allocator import keep_freed_memory
from jielong.model.config import ModelConfig
from jielong.model.sizes import TRAINING, forward_flops
from jielong.model.transformer import Transformer, compile_blocks
from jielong.objectives.language_model import TokenBatch, next_token_loss
from jielong.stages.pretrain import PretrainConfig
from jielong.training.learner import Learner, Part
from jielong.training.optimizers import OptimizerConfig, Schedule, make_optimizers

RECIPE = Path(__file__).parents[1] / "recipes" / "small" / "pretrain.toml"
VOCABULARY, PRODUCT, RUN_S = 4096, 2048, 360.0


def shapes() -> dict[str, tuple[ModelConfig, OptimizerConfig, int, int]]:
    """By name the model, its optimizers, rows and tokens."""
    recipe = config.load(PretrainConfig, RECIPE)
    small = dataclasses.replace(recipe.model, vocab_size=VOCABULARY)
    found = {"small": (small, recipe.optimizer, recipe.batch, recipe.window)}
    adamw = OptimizerConfig(lr=1e-4)
    for name, shape in SHAPES.items():
        found[name] = (shape.ours(), adamw, shape.rows, shape.tokens)
    return found


def measure(
    shape: ModelConfig, optimizer: OptimizerConfig, batch: TokenBatch, rounds: int
) -> tuple[dict[str, float], float]:
    """Median seconds of a step of each kind and of the product; and what compiling took."""
    learners = {}
    for kind in ("plain", "compiled"):
        torch.manual_seed(0)
        model = Transformer(shape)
        if kind == "compiled":
            compile_blocks(model)
        learners[kind] = Learner(model, make_optimizers(model, optimizer), Schedule(1))

    def step(kind: str) -> None:
        learners[kind].update(Part([batch], next_token_loss))

    start = time.perf_counter()
    step("compiled")
    compiling, square = time.perf_counter() - start, torch.randn(PRODUCT, PRODUCT)
    times: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds + 1):
        times["product"].append(seconds(lambda: square @ square))
        for kind in learners:
            times[kind].append(seconds(lambda kind=kind: step(kind)))
    medians = {kind: statistics.median(found[1:]) for kind, found in times.items()}
    return medians, compiling - medians["compiled"]


def main() -> None:
    """Print medians, shares of the peak, and what six minutes of steps gain."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--shape", choices=shapes())
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    for name, (shape, optimizer, rows, tokens) in shapes().items():
        if options.shape not in (None, name):
            continue
        ids = torch.randint(shape.vocab_size, (rows, tokens + 1))
        batch = TokenBatch(ids, torch.ones_like(ids, dtype=torch.bool))
        with tempfile.TemporaryDirectory() as folder, fresh_inductor_cache(dir=folder):
            times, compiling = measure(shape, optimizer, batch, options.rounds)
        peak = 2 * PRODUCT**3 / times["product"]
        flops = TRAINING * forward_flops(shape, tokens) * rows * tokens
        print(f"{name}: {torch.get_num_threads()} threads, peak {peak / 1e9:.0f} GFLOP/s")
        for kind in ("plain", "compiled"):
            share = flops / times[kind] / peak
            print(f"  {kind:9} {1000 * times[kind]:8.1f} ms a step, {share:.2f} of peak")
        saved = RUN_S * (1 - times["compiled"] / times["plain"])
        print(f"  compiling {compiling:.0f} s; saved in {RUN_S:.0f} s of plain steps {saved:.0f} s")


if __name__ == "__main__":
    main()
