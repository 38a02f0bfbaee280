"""What tests of GGUF files need: models of each architecture, and files made by the library."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFValueType, GGUFWriter

from jielong.model.config import RopeConfig
from jielong.model.transformer import Transformer
from tests.tiny import decoder

SIZES = {"vocab_size": 300, "context": 128, "n_layer": 3, "width": 64, "ffn_width": 96}
_LLAMA = SIZES | {"n_head": 4, "n_kv_head": 2, "rope": RopeConfig(base=1000.0), "qk_norm": False}
SHAPES: dict[str, dict[str, Any]] = {
    "qwen3": _LLAMA | {"qk_norm": True, "head_size": 32},
    "llama": _LLAMA | {"tied": False},
    "llama with biases": _LLAMA | {"bias": "all", "norm_eps": 1e-5},
    "qwen2": _LLAMA | {"bias": "qkv"},
    "gemma3": _LLAMA
    | {
        "qk_norm": True,
        "head_size": 32,
        "attention": "sliding:8*2 dense",
        "rope": RopeConfig(base=5000.0, local_base=100.0, scaling="linear", factor=4.0),
        "norm_place": "both",
        "ffn": "geglu_tanh",
        "scale_embedding": True,
        "tied": False,
    },
    "gpt2": SIZES
    | {
        "rope": RopeConfig(),
        "n_head": 4,
        "n_kv_head": 4,
        "positions": "learned",
        "norm": "layer",
        "norm_eps": 1e-5,
        "qk_norm": False,
        "ffn": "gelu_tanh",
        "bias": "all",
        "tied": False,
    },
}
SCALINGS = {
    "linear": RopeConfig(base=1000.0, scaling="linear", factor=4.0),
    "yarn": RopeConfig(base=1000.0, scaling="yarn", factor=4.0, original_context=32),
    "yarn, sharper": RopeConfig(
        base=1000.0, scaling="yarn", factor=4.0, original_context=32, attention_factor=1.3
    ),
    "llama3": RopeConfig(base=1000.0, scaling="llama3", factor=8.0, original_context=64),
    "llama3, another ramp": RopeConfig(
        base=1000.0,
        scaling="llama3",
        factor=32.0,
        original_context=128,
        low_frequency_factor=0.5,
        high_frequency_factor=12.0,
    ),
    "llama3, no pair wholly slow": RopeConfig(
        base=100.0, scaling="llama3", factor=8.0, original_context=512
    ),
}


@cache
def model_of(shape: str) -> Transformer:
    """A model of an architecture, small and random, whose scores are far from even."""
    return decoder(seed=7, std=0.15, **SHAPES[shape])


def plain_vocabulary(size: int = 300) -> dict[str, Any]:
    """Keys of a tokenizer that only has to be there."""
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": [f"t{token}" for token in range(size)],
        "tokenizer.ggml.token_type": [1] * size,
        "tokenizer.ggml.merges": ["t 1"],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
    }


def write_by_library(
    path: Path, keys: Mapping[str, Any], tensors: Mapping[str, tuple[np.ndarray, str]]
) -> None:
    """A file of the `gguf` library's making; each tensor is packed bytes, or numbers, of a kind."""
    writer = GGUFWriter(path, keys["general.architecture"])
    for key, value in keys.items():
        if key != "general.architecture":
            kind = GGUFValueType.get_type(value)
            kind = GGUFValueType.UINT32 if kind == GGUFValueType.INT32 else kind
            writer.add_key_value(key, value, kind)
    for name, (array, kind) in tensors.items():
        writer.add_tensor(name, array, raw_dtype=GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
