"""Models of others that several benchmarks stand beside ours, each at the shape that is asked for.

Their libraries are imported when a model is made, so that a process which trains one of them, or
ours, holds nothing of the others.
"""

import contextlib
import importlib.util
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shapes import Shape
from torch import Tensor, nn
from torch.nn import functional as F


def gpt2(shape: Shape) -> nn.Module:
    """transformers' GPT-2, without dropout."""
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=shape.vocabulary,
            n_positions=shape.tokens,
            n_embd=shape.width,
            n_layer=shape.layers,
            n_head=shape.heads,
            resid_pdrop=0,
            embd_pdrop=0,
            attn_pdrop=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    )


def qwen3(shape: Shape, ffn_width: int) -> nn.Module:
    """transformers' Qwen3, tied."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    sizes = _llama_sizes(shape, ffn_width)
    return Qwen3ForCausalLM(Qwen3Config(**sizes, head_dim=shape.width // shape.heads))


def llama(shape: Shape, ffn_width: int) -> nn.Module:
    """transformers' Llama, tied."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(LlamaConfig(**_llama_sizes(shape, ffn_width)))


def _llama_sizes(shape: Shape, ffn_width: int) -> dict[str, Any]:
    return {
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.width,
        "intermediate_size": ffn_width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "max_position_embeddings": shape.tokens,
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }


def nanogpt_file(folder: Path) -> Path:
    """nanoGPT's `model.py`; ends the program in a line when it is not there."""
    if not (folder / "model.py").is_file():
        sys.exit(f"--nanogpt: {folder}: has no model.py: give the folder of a clone of nanoGPT")
    return folder / "model.py"


def nanogpt(folder: Path, shape: Shape, **changes: object) -> nn.Module:
    """nanoGPT's model from its own `model.py`, which is run as it is; without dropout."""
    spec = importlib.util.spec_from_file_location("nanogpt_model", nanogpt_file(folder))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["nanogpt_model"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.GPTConfig(
        block_size=shape.tokens,
        vocab_size=shape.vocabulary,
        n_layer=shape.layers,
        n_head=shape.heads,
        n_embd=shape.width,
        dropout=0.0,
        **changes,
    )
    with contextlib.redirect_stdout(io.StringIO()):  # it counts its parameters aloud
        return module.GPT(config)


def loss_of(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """The mean loss of rows of ids, each token from those before it, in the peer's own way."""
    if hasattr(model, "estimate_mfu"):  # nanoGPT's
        return lambda ids: model(ids[:, :-1], ids[:, 1:].contiguous())[1]

    def loss(ids: Tensor) -> Tensor:
        scores = model(ids[:, :-1], use_cache=False).logits
        return F.cross_entropy(scores.flatten(0, 1), ids[:, 1:].flatten())

    return loss
