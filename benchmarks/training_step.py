"""One training step beside transformers' models of the same shape: forward, loss, backward.

    python benchmarks/training_step.py [--nanogpt FOLDER] [--rounds 5]

Each of our models has a peer with the same parts and the same number of parameters: GPT-2's (the
parts of nanoGPT as well: learned positions, layer norm, GELU, biases) and Qwen3's. They take turns,
so that all meet the same machine; medians of wall-clock time, float32. `--nanogpt` is a folder with
nanoGPT's `model.py`, which is run as it is.
"""

import argparse
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel, Qwen3Config, Qwen3ForCausalLM

from jielong.model.config import ModelConfig
from jielong.model.transformer import Transformer
from jielong.objectives.language_model import TokenBatch, next_token_loss

SHAPES = {"12M": (6, 384, 6, 256, 16, 4096), "1M": (4, 128, 4, 128, 32, 2048)}
"""Layers, width, heads, tokens in a row, rows, vocabulary."""

Step = Callable[[Tensor], Tensor]


def ours(config: ModelConfig) -> tuple[nn.Module, Step]:
    """Our model, and its loss."""
    model = Transformer(config)

    def loss(ids: Tensor) -> Tensor:
        found = next_token_loss(model, TokenBatch(ids, torch.ones_like(ids, dtype=torch.bool)))
        return found.total / found.items

    return model, loss


def theirs(model: nn.Module) -> tuple[nn.Module, Step]:
    """A model of transformers, and its loss of the same targets."""

    def loss(ids: Tensor) -> Tensor:
        scores = model(ids[:, :-1], use_cache=False).logits
        return nn.functional.cross_entropy(scores.flatten(0, 1), ids[:, 1:].flatten())

    return model, loss


def nanogpt(folder: Path, shape: tuple[int, ...]) -> tuple[nn.Module, Step]:
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
    return model, lambda ids: model(ids[:, :-1], ids[:, 1:].contiguous())[1]


def contestants(shape: tuple[int, ...], folder: Path | None) -> dict[str, tuple[nn.Module, Step]]:
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
        "transformers GPT-2": theirs(
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
            )
        ),
        "ours, Qwen3's parts": ours(qwen3),
        "transformers Qwen3": theirs(
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
            )
        ),
    }
    if folder is not None:
        found["nanoGPT"] = nanogpt(folder, shape)
    return found


def seconds(model: nn.Module, loss: Step, ids: Tensor) -> float:
    """The time of one forward, loss and backward."""
    model.zero_grad(set_to_none=True)
    start = time.perf_counter()
    loss(ids).backward()
    return time.perf_counter() - start


def main() -> None:
    """Print medians, tokens a second, and ratios to ours."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nanogpt", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.manual_seed(0)
    for name, shape in SHAPES.items():
        tokens, rows, vocabulary = shape[3:]
        ids = torch.randint(vocabulary, (rows, tokens + 1))
        models = contestants(shape, options.nanogpt)
        times = {key: [] for key in models}
        for _ in range(options.rounds + 1):
            for key, (model, loss) in models.items():
                times[key].append(seconds(model.train(), loss, ids))
        medians = {key: statistics.median(found[1:]) for key, found in times.items()}
        print(f"\n{name}: {torch.get_num_threads()} threads, torch {torch.__version__}")
        for key, median in medians.items():
            size = sum(p.numel() for p in models[key][0].parameters())
            reference = "ours, Qwen3's parts" if "Qwen3" in key else "ours, GPT-2's parts"
            print(
                f"  {key:20} {size / 1e6:5.2f}M {1000 * median:8.1f} ms"
                f" {rows * tokens / median:8,.0f} tok/s  {median / medians[reference]:5.2f} x ours"
            )


if __name__ == "__main__":
    main()
