"""The shapes of model that GGUF files describe, and what each calls our settings.

As in a folder of Hugging Face, every architecture is one of our shapes: `fixed` says which settings
all its models share. Keys that ask for more than we do are refused, since half a model gives wrong
text without any error; so are our settings that llama.cpp would pass over.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jielong.core.errors import ConfigError
from jielong.model.config import ModelConfig
from jielong.model.formats.gguf_file import GgufFile
from jielong.model.formats.gguf_keys import Keys
from jielong.model.formats.gguf_rope import read_rope, rope_obstacles, write_rope
from jielong.model.formats.gguf_windows import read_windows, window_obstacles, write_windows
from jielong.model.formats.skeleton import fault_of


@dataclass(frozen=True)
class Architecture:
    """One `general.architecture`.

    With `interleaved` a rotary pair is two neighbouring channels of a head, not the channels
    i and i + D/2. With `fused` the matrix of Q, K and V is one, as ours is.
    """

    name: str
    fixed: Mapping[str, Any]
    biases: tuple[str, ...]
    interleaved: bool = False
    fused: bool = False
    free_head_size: bool = True
    windows: bool = False
    scalings: tuple[str, ...] = ("none", "linear", "yarn")


_ROTARY = {
    "positions": "rotary",
    "norm": "rms",
    "norm_place": "pre",
    "qk_norm": False,
    "ffn": "swiglu",
    "scale_embedding": False,
}
_NOWHERE = {"bidirectional": False, "segments": 0, "embedding_norm": False}
ARCHITECTURES = (
    Architecture("qwen3", _ROTARY | {"qk_norm": True}, ("none", "qkv")),
    Architecture("qwen2", _ROTARY, ("qkv",), free_head_size=False),
    Architecture(
        "llama",
        _ROTARY,
        ("none", "qkv", "attention", "all"),
        interleaved=True,
        scalings=("none", "linear", "yarn", "llama3"),
    ),
    Architecture(
        "gemma3",
        _ROTARY
        | {"qk_norm": True, "norm_place": "both", "ffn": "geglu_tanh", "scale_embedding": True},
        ("none", "qkv"),
        windows=True,
    ),
    Architecture(
        "gpt2",
        _ROTARY | {"positions": "learned", "norm": "layer", "ffn": "gelu_tanh"},
        ("all",),
        fused=True,
        free_head_size=False,
        scalings=("none",),
    ),
)


def read_config(file: GgufFile) -> tuple[Architecture, ModelConfig]:
    """What a file's keys, and the presence of its tensors, say of the model's shape."""
    name = file.metadata.get("general.architecture")
    architecture = next((known for known in ARCHITECTURES if known.name == name), None)
    if architecture is None:
        known = ", ".join(sorted(known.name for known in ARCHITECTURES))
        raise file.error(f"general.architecture: {name!r}: only {known} can be read")
    keys = Keys(file, f"{name}.")
    settings = _sizes(keys, architecture) | {
        "bias": _bias(file),
        "tied": "output.weight" not in file.tensors,
    }
    # Before any rule is asked about each of its layers.
    fault = fault_of(settings, {name: tensor.shape for name, tensor in file.tensors.items()})
    if fault is not None:
        raise file.error(f"{fault}: convert the model anew")
    if architecture.fixed["positions"] == "rotary":
        attention = read_windows(keys, settings, possible=architecture.windows)
        local = "sliding" in attention
        settings["attention"] = attention
        settings["rope"] = read_rope(keys, settings, architecture.scalings, local=local)
    keys.finish()
    try:
        return architecture, ModelConfig(**{**architecture.fixed, **settings})
    except ValueError as error:  # the message begins with the name that the setting has here
        raise file.error(f"of no shape that can be built: {error}") from None


def write_config(config: ModelConfig) -> tuple[Architecture, dict[str, Any]]:
    """The architecture that has this shape, and its keys.

    Raises `ConfigError`, naming the settings in the way, when none has.
    """
    ways = {known.name: _obstacles(known, config) for known in ARCHITECTURES}
    architecture = min(ARCHITECTURES, key=lambda known: len(ways[known.name]))
    found = ways[architecture.name]
    if found:
        raise ConfigError(
            f"{'; '.join(found)}: llama.cpp has no architecture like that (the nearest is "
            f"{architecture.name}): train a model of that shape to export it as GGUF"
        )
    eps = f"layer_norm_{'rms_' if config.norm == 'rms' else ''}epsilon"
    values = {
        "vocab_size": config.vocab_size,
        "context_length": config.context,
        "embedding_length": config.width,
        "block_count": config.n_layer,
        "feed_forward_length": config.ffn_width,
        "attention.head_count": config.n_head,
        "attention.head_count_kv": config.n_kv_head,
        f"attention.{eps}": config.norm_eps,
    }
    if config.positions == "rotary":
        values |= {
            "attention.key_length": config.head_dim,
            "attention.value_length": config.head_dim,
            "rope.dimension_count": config.head_dim,
        }
        values |= write_rope(config) | write_windows(config)
    head = {
        "general.architecture": architecture.name,
        "general.type": "model",
        "general.quantization_version": 2,
    }
    return architecture, head | {f"{architecture.name}.{key}": v for key, v in values.items()}


def query_gain(architecture: Architecture, config: ModelConfig) -> float:
    """What llama.cpp multiplies the scores of attention by, over 1/sqrt(D).

    It is 1, but the 62 layers of Gemma 3's largest divide by sqrt(width / n_head), and the files
    have no key that says so. (Ours divide by sqrt(D): the gain goes into the norm of the queries.)
    """
    if architecture.name == "gemma3" and config.n_layer == 62:
        return (config.head_dim / (config.width // config.n_head)) ** 0.5
    return 1.0


def _sizes(keys: Keys, architecture: Architecture) -> dict[str, Any]:
    width, heads = keys.whole("embedding_length"), keys.whole("attention.head_count")
    size = keys.whole("attention.key_length", width // heads)
    keys.only("attention.value_length", size)
    keys.only("attention.causal", True)
    keys.get("tensor_data_layout")  # says only where the file came from
    eps = "rms_epsilon" if architecture.fixed["norm"] == "rms" else "epsilon"
    embedding = keys.file.tensors.get("token_embd.weight")
    if embedding is None or len(embedding.shape) != 2:
        raise keys.file.error("token_embd.weight, a matrix, is missing: convert the model anew")
    if keys.whole("vocab_size", embedding.shape[0]) != embedding.shape[0]:
        raise keys.refuse("vocab_size", f"token_embd.weight has {embedding.shape[0]} rows")
    return {
        "vocab_size": embedding.shape[0],
        "context": keys.whole("context_length"),
        "n_layer": keys.whole("block_count"),
        "width": width,
        "n_head": heads,
        "n_kv_head": keys.whole("attention.head_count_kv", heads),
        "ffn_width": keys.whole("feed_forward_length"),
        "head_size": None if size * heads == width else size,
        "norm_eps": keys.number(f"attention.layer_norm_{eps}"),
    }


def _bias(file: GgufFile) -> str:
    def has(*names: str) -> bool:
        return any(f"blk.0.{name}.bias" in file.tensors for name in names)

    if has("ffn_down"):
        return "all"
    if has("attn_output"):
        return "attention"
    return "qkv" if has("attn_q", "attn_qkv") else "none"


def _obstacles(architecture: Architecture, config: ModelConfig) -> list[str]:
    """The settings that keep a model from being of this architecture."""
    wanted = _NOWHERE | dict(architecture.fixed)
    wrong = [
        f"{name}: {json.dumps(getattr(config, name))}"
        for name, value in wanted.items()
        if getattr(config, name) != value
    ]
    if config.bias not in architecture.biases:
        wrong.append(f"bias: {json.dumps(config.bias)}")
    if not architecture.free_head_size and config.n_head * config.head_dim != config.width:
        wrong.append(f"head_size: {config.head_size}")
    if architecture.fused and config.n_kv_head != config.n_head:
        wrong.append(f"n_kv_head: {config.n_kv_head}")
    wrong += window_obstacles(config, possible=architecture.windows)
    if config.positions == "rotary":
        wrong += rope_obstacles(config, architecture.scalings, local=architecture.windows)
    return wrong
