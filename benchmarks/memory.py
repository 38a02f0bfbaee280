"""What training takes in memory, and what saving memory costs in time, beside transformers.

    jielong bench memory [--layers 6 --width 384 --rows 16 --tokens 256] [--rounds 3]

Each way runs in a process of its own, since a peak cannot be reset: AdamW, float32, one shape with
Qwen3's parts. "Peak" is the largest resident set less what it was before the model was made.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import peers
import torch
from shapes import Shape

from jielong.core.resources import peak_rss_bytes
from jielong.model.lora import LoraConfig, add_adapters
from jielong.model.transformer import Transformer, recompute_activations
from jielong.objectives.language_model import TokenBatch, next_token_loss
from jielong.training.learner import Learner, Part
from jielong.training.optimizers import OptimizerConfig, Schedule, make_optimizers
from jielong.training.settings import TrainingConfig

VOCABULARY = 4096
SMALL = argparse.Namespace(layers=1, width=64, rows=2, tokens=8)
WAYS: dict[str, dict] = {
    "plain": {},
    "micro_batch = 4": {"micro_batch": 4},
    "activation_checkpointing": {"activation_checkpointing": True},
    "both": {"micro_batch": 4, "activation_checkpointing": True},
    "ema_decay = 0.99": {"ema_decay": 0.99},
    "lora, rank 8": {},
    "lora and both": {"micro_batch": 4, "activation_checkpointing": True},
    "transformers": {},
    "transformers, gradient checkpointing": {},
}


def shape_of(options: argparse.Namespace) -> Shape:
    """The shape that was asked for."""
    heads = options.width // 64
    return Shape(options.layers, options.width, heads, options.tokens, options.rows, VOCABULARY)


def ours(way: str, shape: argparse.Namespace) -> Callable[[torch.Tensor], object]:
    """Our step, by the settings of a recipe."""
    training = TrainingConfig(**WAYS[way])
    model = Transformer(shape_of(shape).ours())
    if "lora" in way:
        add_adapters(model, LoraConfig())
    if training.activation_checkpointing:
        recompute_activations(model)
    optimizers = make_optimizers(model, OptimizerConfig(lr=1e-3))
    learner = Learner(model, optimizers, Schedule(100), training=training)
    return lambda ids: learner.update(
        Part([TokenBatch(ids, torch.ones_like(ids, dtype=torch.bool))], next_token_loss)
    )


def theirs(way: str, shape: argparse.Namespace) -> Callable[[torch.Tensor], object]:
    """The same model in transformers, with a plain loop."""
    model: Any = peers.qwen3(shape_of(shape), 8 * shape.width // 3).train()
    if "checkpointing" in way:
        model.activation_checkpointing_enable()
    loss = peers.loss_of(model)
    adam = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def step(ids: torch.Tensor) -> None:
        loss(ids).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        adam.zero_grad(set_to_none=True)

    return step


def measure(way: str, shape: argparse.Namespace) -> None:
    """Print the peak in MB and the median of a step in ms, of one way."""
    torch.manual_seed(0)
    ids = torch.randint(VOCABULARY, (shape.rows, shape.tokens + 1))
    make = theirs if way.startswith("transformers") else ours
    make(way, SMALL)(ids[:2, :9])  # loads what a library loads late
    before = peak_rss_bytes()
    step = make(way, shape)
    times = []
    for _ in range(shape.rounds + 1):
        start = time.perf_counter()
        step(ids)
        times.append(time.perf_counter() - start)
    peak = (peak_rss_bytes() - before) / 1e6
    print(f"{peak:.0f} {1000 * statistics.median(times[1:]):.0f}")


def main() -> None:
    """Run each way in turn, in a process of its own, and print all beside the plain one."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("layers", 6), ("width", 384), ("rows", 16), ("tokens", 256)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    shape = parser.parse_args()
    if shape.way:
        measure(shape.way, shape)
        return
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    plain: tuple[float, float] | None = None
    for way in WAYS:
        command = [sys.executable, __file__, *sys.argv[1:], "--way", way]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        peak, ms = map(float, done.stdout.split())
        plain = plain or (peak, ms)
        print(
            f"  {way:38} {peak:7.0f} MB {peak / plain[0]:6.2f}   {ms:7.0f} ms {ms / plain[1]:6.2f}"
        )


if __name__ == "__main__":
    main()
