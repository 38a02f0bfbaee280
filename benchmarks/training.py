"""A training step beside its peers': its time, its share of the machine's peak, its memory.

    jielong bench training [--shape 12M] [--rounds 5] [--threads N] [--nanogpt FOLDER]

Each of our models has a peer with the same parts and the same number of parameters: GPT-2's
(learned positions, layer norm, GELU by tanh, biases), nanoGPT's (the same with GELU itself) and
Qwen3's. `--nanogpt` is a folder with nanoGPT's `model.py`, which is run as it is.

Time: they take turns, so that all meet the same machine; medians of wall-clock time, float32. Two
things are timed: forward, loss and backward; and the whole step, with clipping and AdamW (fused for
all). On one thread it is that thread's own time, which other work on the machine lengthens less.
Freed memory is kept by the process, as our training has it, for all contestants alike.

Peak: that of products of two 2048 x 2048 matrices on the same threads, one in each turn, by their
median. The work of a step is counted twice. "of peak" takes what is needed, 3 x the forward pass
(`jielong.model.sizes.forward_flops`): for each token 6 operations for each weight that multiplies,
the vocabulary's once, and 12 x width for each key that the token attends to in each layer, which in
a causal model are (T + 1) / 2 on average. "all T" is the usual estimate (arXiv:2204.02311, appendix
B, and nanoGPT's own): 6 x parameters + 12 x layers x width x T, as if each token attended to all.

Memory: the largest resident set of a process of its own that makes five steps, as each side has it
(only ours keeps freed memory); and what of it came after the libraries were loaded.
"""

import argparse
import dataclasses
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import peers
import torch
from shapes import SHAPES, Shape, seconds
from torch import Tensor, nn

from jielong.core.allocator import keep_freed_memory
from jielong.core.resources import peak_rss_bytes
from jielong.model.config import ModelConfig
from jielong.model.sizes import TRAINING, forward_flops
from jielong.model.transformer import Transformer
from jielong.objectives.language_model import TokenBatch, next_token_loss
from jielong.training.learner import Learner, Part
from jielong.training.optimizers import OptimizerConfig, Schedule, make_optimizers

LEARNING_RATE, PRODUCT, STEPS = 1e-4, 2048, 5
SMALL = Shape(1, 32, 2, 8, 2, 64)
"""A step of it loads what a library loads late."""

Step = Callable[[Tensor], Tensor]


class Contestant(NamedTuple):
    """A model, its loss of a batch, and a whole step on it."""

    model: nn.Module
    loss: Step
    update: Callable[[Tensor], object]


class Entry(NamedTuple):
    """What makes a contestant, the shape of ours with the same parts, and ours by its name."""

    make: Callable[[], Contestant]
    config: ModelConfig
    reference: str


def ours(config: ModelConfig) -> Contestant:
    """Our model, and our step."""
    model = Transformer(config)
    optimizers = make_optimizers(model, OptimizerConfig(lr=LEARNING_RATE))
    learner = Learner(model, optimizers, Schedule(1))

    def batch(ids: Tensor) -> TokenBatch:
        return TokenBatch(ids, torch.ones_like(ids, dtype=torch.bool))

    def loss(ids: Tensor) -> Tensor:
        found = next_token_loss(model, batch(ids))
        return found.total / found.items

    def update(ids: Tensor) -> None:
        learner.update(Part([batch(ids)], next_token_loss))

    return Contestant(model, loss, update)


def theirs(make: Callable[[], nn.Module]) -> Contestant:
    """Another's model of the same shape in a plain loop."""
    model = make()
    loss = peers.loss_of(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=True)

    def update(ids: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss(ids).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return Contestant(model, loss, update)


def contestants(shape: Shape, folder: Path | None) -> dict[str, Entry]:
    """Ours and theirs, by name."""
    gpt2 = shape.ours(
        ffn_width=4 * shape.width,
        positions="learned",
        norm="layer",
        ffn="gelu_tanh",
        bias="all",
        qk_norm=False,
    )
    nanogpt = dataclasses.replace(gpt2, ffn="gelu")
    qwen3 = shape.ours()
    pairs: list[tuple[str, str, ModelConfig, Callable[[], nn.Module]]] = [
        ("GPT-2", "transformers GPT-2", gpt2, partial(peers.gpt2, shape)),
        ("Qwen3", "transformers Qwen3", qwen3, partial(peers.qwen3, shape, qwen3.ffn_width)),
    ]
    if folder is not None:
        pairs.append(("nanoGPT", "nanoGPT", nanogpt, partial(peers.nanogpt, folder, shape)))
    found = {}
    for parts, name, config, make in pairs:
        reference = f"ours, {parts}'s parts"
        found[reference] = Entry(partial(ours, config), config, reference)
        found[name] = Entry(partial(theirs, make), config, reference)
    return found


def measure(models: dict[str, Contestant], ids: Tensor, rounds: int) -> dict[str, float]:
    """Medians of seconds of both kinds for each contestant, and of the product, in turns.

    Keys are a name for forward, loss and backward, and the name with " step" for the whole. What
    comes before the first turn's end is lost.
    """
    square = torch.randn(PRODUCT, PRODUCT)
    times: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds + 1):
        times["product"].append(seconds(lambda: square @ square))
        for name, one in models.items():
            one.model.zero_grad(set_to_none=True)
            times[name].append(seconds(lambda one=one: one.loss(ids).backward()))
            times[name + " step"].append(seconds(lambda one=one: one.update(ids)))
    return {name: statistics.median(found[1:]) for name, found in times.items()}


def batch_of(shape: Shape) -> Tensor:
    """Random ids (rows, tokens + 1)."""
    return torch.randint(shape.vocabulary, (shape.rows, shape.tokens + 1))


def print_times(shape: Shape, entries: dict[str, Entry], rounds: int) -> None:
    """The table of times, ratios to ours, and shares of the peak."""
    keep_freed_memory()
    models = {name: entry.make() for name, entry in entries.items()}
    medians = measure(models, batch_of(shape), rounds)
    peak = 2 * PRODUCT**3 / medians["product"]
    print(
        f"  peak {peak / 1e9:4.0f} GFLOP/s{'':14}forward + backward{'':14}whole step"
        f"{'':19}of peak  all T"
    )
    for name, one in models.items():
        size = sum(p.numel() for p in one.model.parameters())
        half, whole = medians[name], medians[name + " step"]
        config, reference = entries[name][1:]
        rate = shape.rows * shape.tokens / whole
        needed = TRAINING * forward_flops(config)
        usual = 6 * size + 12 * shape.layers * shape.width * shape.tokens
        print(
            f"  {name:21} {size / 1e6:5.2f}M"
            f" {1000 * half:8.1f} ms {half / medians[reference]:5.2f} x ours"
            f" {1000 * whole:8.1f} ms {whole / medians[reference + ' step']:5.2f} x ours"
            f" {rate:8,.0f} tok/s {needed * rate / peak:6.2f} {usual * rate / peak:6.2f}"
        )


def print_memory(entries: dict[str, Entry], shape: str, folder: Path | None) -> None:
    """The table of memory: each contestant in a process of its own, since a peak is never reset."""
    print(f"  {'':24}largest resident set     after loading libraries")
    found: dict[str, tuple[float, float]] = {}
    for name, entry in entries.items():
        command = [sys.executable, __file__, "--shape", shape, "--memory-of", name]
        command += ["--threads", str(torch.get_num_threads())]
        command += [] if folder is None else ["--nanogpt", str(folder)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        peak, before = map(int, done.stdout.splitlines()[-1].split())
        found[name] = (peak, peak - before)
        whole, own = (a / b for a, b in zip(found[name], found[entry.reference], strict=True))
        print(
            f"  {name:21} {peak / 1e6:8.0f} MB {whole:5.2f} x ours"
            f" {(peak - before) / 1e6:10.0f} MB {own:5.2f} x ours",
            flush=True,
        )


def spend_memory(name: str, shape: Shape, folder: Path | None) -> None:
    """Make the steps of one contestant; prints the peak and what it was before, in bytes."""
    before = 0
    for one_shape, steps in ((SMALL, 1), (shape, STEPS)):
        make, _, reference = contestants(one_shape, folder)[name]
        if name == reference:
            keep_freed_memory()
        before = peak_rss_bytes()
        one, ids = make(), batch_of(one_shape)
        for _ in range(steps):
            one.update(ids)
    print(peak_rss_bytes(), before)


def main() -> None:
    """Print both tables for each shape."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nanogpt", type=Path, metavar="FOLDER")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shape", choices=SHAPES)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.nanogpt:
        peers.nanogpt_file(options.nanogpt)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    for name in [options.shape] if options.shape else SHAPES:
        shape = SHAPES[name]
        entries = contestants(shape, options.nanogpt)
        if options.memory_of:
            spend_memory(options.memory_of, shape, options.nanogpt)
            return
        print(f"\n{name}: {options.threads} threads, torch {torch.__version__}")
        print_memory(entries, name, options.nanogpt)
        print_times(shape, entries, options.rounds)


if __name__ == "__main__":
    main()
