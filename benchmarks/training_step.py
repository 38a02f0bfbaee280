"""One training step beside transformers' models of the same shape, and how much of the peak it is.

    python benchmarks/training_step.py [--shape 12M] [--rounds 5] [--threads N] [--nanogpt FOLDER]

Each of our models has a peer with the same parts and the same number of parameters: GPT-2's
(learned positions, layer norm, GELU by tanh, biases), nanoGPT's (the same with GELU itself) and
Qwen3's. They take turns,
so that all meet the same machine; medians of wall-clock time, float32. Two things are timed:
forward, loss and backward; and the whole step, with clipping and AdamW (fused for all). On one
thread it is that thread's own time, which other work on the machine lengthens less.

The peak is the median of products of two 2048 x 2048 matrices on the same threads, one in each
turn. The work of a step is 3 x that of its forward pass (`jielong.model.sizes.forward_flops`): for
each token 6 operations for each weight that multiplies, the vocabulary's once, and 12 x width for
each key that the token attends to in each layer: in a causal model (T + 1) / 2 on average.

Freed memory is kept by the process, as our training has it, for all contestants alike. `--nanogpt`
is a folder with nanoGPT's `model.py`, which is run as it is.
"""

import argparse
import dataclasses
import importlib.util
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel, Qwen3Config, Qwen3ForCausalLM

from jielong.core.allocator import keep_freed_memory
from jielong.model.config import ModelConfig
from jielong.model.sizes import forward_flops
from jielong.model.transformer import Transformer
from jielong.objectives.language_model import TokenBatch, next_token_loss
from jielong.training.learner import Learner, Part
from jielong.training.optimizers import OptimizerConfig, Schedule, make_optimizers

SHAPES = {"12M": (6, 384, 6, 256, 16, 4096), "1M": (4, 128, 4, 128, 32, 2048)}
"""Layers, width, heads, tokens in a row, rows, vocabulary."""

LEARNING_RATE, PRODUCT = 1e-4, 2048

Step = Callable[[Tensor], Tensor]


class Contestant(NamedTuple):
    """A model, its loss of a batch, and a whole step on it; `flops` are its work for a token."""

    model: nn.Module
    loss: Step
    update: Callable[[Tensor], object]
    flops: int


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

    return Contestant(model, loss, update, 3 * forward_flops(config))


def theirs(model: nn.Module, loss: Step, config: ModelConfig) -> Contestant:
    """Another's model of the same shape in a plain loop."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=True)

    def update(ids: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss(ids).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return Contestant(model, loss, update, 3 * forward_flops(config))


def of_transformers(model: nn.Module, config: ModelConfig) -> Contestant:
    """A model of transformers with the loss of the same targets."""

    def loss(ids: Tensor) -> Tensor:
        scores = model(ids[:, :-1], use_cache=False).logits
        return nn.functional.cross_entropy(scores.flatten(0, 1), ids[:, 1:].flatten())

    return theirs(model, loss, config)


def nanogpt(folder: Path, shape: tuple[int, ...], config: ModelConfig) -> Contestant:
    """nanoGPT's model from its own file."""
    spec = importlib.util.spec_from_file_location("nanogpt_model", folder / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["nanogpt_model"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    layers, width, heads, tokens, _, vocabulary = shape
    model = module.GPT(
        module.GPTConfig(
            block_size=tokens,
            vocab_size=vocabulary,
            n_layer=layers,
            n_head=heads,
            n_embd=width,
            dropout=0.0,
        )
    )
    return theirs(model, lambda ids: model(ids[:, :-1], ids[:, 1:].contiguous())[1], config)


def contestants(shape: tuple[int, ...], folder: Path | None) -> dict[str, Contestant]:
    """Ours and theirs, by name."""
    layers, width, heads, tokens, _, vocabulary = shape
    sizes = {"vocab_size": vocabulary, "context": tokens, "n_layer": layers, "width": width}
    sizes |= {"n_head": heads, "n_kv_head": heads}
    gpt2 = ModelConfig(
        **sizes,
        ffn_width=4 * width,
        positions="learned",
        norm="layer",
        ffn="gelu_tanh",
        bias="all",
        qk_norm=False,
    )
    qwen3 = ModelConfig(**sizes, ffn_width=8 * width // 3)
    found = {
        "ours, GPT-2's parts": ours(gpt2),
        "transformers GPT-2": of_transformers(
            GPT2LMHeadModel(
                GPT2Config(
                    vocab_size=vocabulary,
                    n_positions=tokens,
                    n_embd=width,
                    n_layer=layers,
                    n_head=heads,
                    resid_pdrop=0,
                    embd_pdrop=0,
                    attn_pdrop=0,
                    bos_token_id=1,
                    eos_token_id=2,
                )
            ),
            gpt2,
        ),
        "ours, Qwen3's parts": ours(qwen3),
        "transformers Qwen3": of_transformers(
            Qwen3ForCausalLM(
                Qwen3Config(
                    vocab_size=vocabulary,
                    hidden_size=width,
                    intermediate_size=qwen3.ffn_width,
                    num_hidden_layers=layers,
                    num_attention_heads=heads,
                    num_key_value_heads=heads,
                    head_dim=qwen3.head_dim,
                    max_position_embeddings=tokens,
                    tie_word_embeddings=True,
                    bos_token_id=1,
                    eos_token_id=2,
                )
            ),
            qwen3,
        ),
    }
    if folder is not None:
        found["ours, nanoGPT's parts"] = ours(dataclasses.replace(gpt2, ffn="gelu"))
        found["nanoGPT"] = nanogpt(folder, shape, gpt2)
    return found


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    work()
    return clock() - start


def measure(models: dict[str, Contestant], ids: Tensor, rounds: int) -> dict[str, list[float]]:
    """Seconds of both kinds for each contestant, and of the product, in turns; the first is lost.

    Keys are a name for forward, loss and backward, and the name with " step" for the whole.
    """
    square = torch.randn(PRODUCT, PRODUCT)
    times: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds + 1):
        times["product"].append(seconds(lambda: square @ square))
        for name, one in models.items():
            one.model.zero_grad(set_to_none=True)
            times[name].append(seconds(lambda one=one: one.loss(ids).backward()))
            times[name + " step"].append(seconds(lambda one=one: one.update(ids)))
    return {name: found[1:] for name, found in times.items()}


def main() -> None:
    """Print medians, ratios to ours, and shares of the peak."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nanogpt", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shape", choices=SHAPES)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    for shape_name in [options.shape] if options.shape else SHAPES:
        shape = SHAPES[shape_name]
        tokens, rows, vocabulary = shape[3:]
        ids = torch.randint(vocabulary, (rows, tokens + 1))
        models = contestants(shape, options.nanogpt)
        times = measure(models, ids, options.rounds)
        medians = {name: statistics.median(found) for name, found in times.items()}
        peak = 2 * PRODUCT**3 / medians["product"]
        threads = torch.get_num_threads()
        print(f"\n{shape_name}: {threads} threads, torch {torch.__version__}, ", end="")
        print(f"peak {peak / 1e9:.0f} GFLOP/s")
        print(f"  {'':21}  forward + backward      whole step")
        for name, one in models.items():
            size = sum(p.numel() for p in one.model.parameters())
            parts = next(parts for parts in ("GPT-2", "nanoGPT", "Qwen3") if parts in name)
            reference = f"ours, {parts}'s parts"
            half, whole = medians[name], medians[name + " step"]
            print(
                f"  {name:21} {size / 1e6:5.2f}M"
                f" {1000 * half:8.1f} ms {half / medians[reference]:5.2f} x ours"
                f" {1000 * whole:8.1f} ms {whole / medians[reference + ' step']:5.2f} x ours"
                f" {rows * tokens / whole:8,.0f} tok/s"
                f" {one.flops * rows * tokens / whole / peak:5.2f} of peak"
            )


if __name__ == "__main__":
    main()
