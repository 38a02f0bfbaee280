"""Llama and what came after it: Qwen2, Qwen3, Gemma 3. Most settings they spell alike."""

from collections.abc import Mapping
from typing import Any

from jielong.model.config import ModelConfig
from jielong.model.formats.family import Family
from jielong.model.formats.layer_types import read_layer_types, write_layer_types
from jielong.model.formats.rope import (
    read_rope,
    read_rope_by_layer,
    write_rope,
    write_rope_by_layer,
)
from jielong.model.formats.settings import MOST_LAYERS, Settings

_FFN = {
    "silu": "swiglu",
    "swish": "swiglu",
    "gelu": "geglu",
    "gelu_pytorch_tanh": "geglu_tanh",
    "gelu_new": "geglu_tanh",
}
_GATED = ("swiglu", "geglu", "geglu_tanh")
_SHARED = {"positions": "rotary", "norm": "rms", "norm_place": "pre", "scale_embedding": False}
_MODULES: Mapping[str, str | tuple[str, ...]] = {
    "embedding": "model.embed_tokens",
    "norm": "model.norm",
    "head": "lm_head",
    "attention_norm": "model.layers.{}.input_layernorm",
    "attention.qkv": (
        "model.layers.{}.self_attn.q_proj",
        "model.layers.{}.self_attn.k_proj",
        "model.layers.{}.self_attn.v_proj",
    ),
    "attention.query_norm": "model.layers.{}.self_attn.q_norm",
    "attention.key_norm": "model.layers.{}.self_attn.k_norm",
    "attention.output": "model.layers.{}.self_attn.o_proj",
    "feed_forward_norm": "model.layers.{}.post_attention_layernorm",
    "feed_forward.gate_up": ("model.layers.{}.mlp.gate_proj", "model.layers.{}.mlp.up_proj"),
    "feed_forward.down": "model.layers.{}.mlp.down_proj",
}


def _read_shared(
    s: Settings, *, activation: str = "hidden_act", tied: bool = False
) -> dict[str, Any]:
    width, heads = s.whole("hidden_size"), s.whole("num_attention_heads")
    size = s.values.get("head_dim") and s.whole("head_dim")
    return {
        "vocab_size": s.whole("vocab_size"),
        "context": s.whole("max_position_embeddings"),
        "n_layer": s.whole("num_hidden_layers", most=MOST_LAYERS),
        "width": width,
        "n_head": heads,
        "n_kv_head": s.whole("num_key_value_heads", heads),
        "ffn_width": s.whole("intermediate_size"),
        "head_size": None if not size or size == width / heads else size,
        "norm_eps": s.number("rms_norm_eps", 1e-6),
        "ffn": s.choice(activation, _FFN, "silu"),
        "tied": s.flag("tie_word_embeddings", default=tied),
    }


def _write_shared(config: ModelConfig, *, activation: str = "hidden_act") -> dict[str, Any]:
    return {
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.context,
        "num_hidden_layers": config.n_layer,
        "hidden_size": config.width,
        "num_attention_heads": config.n_head,
        "num_key_value_heads": config.n_kv_head,
        "intermediate_size": config.ffn_width,
        "head_dim": config.head_dim,
        "rms_norm_eps": config.norm_eps,
        activation: next(theirs for theirs, ours in _FFN.items() if ours == config.ffn),
        "tie_word_embeddings": config.tied,
    }


def _bias(s: Settings) -> str:
    return "attention" if s.flag("attention_bias", default=False) else "none"


def _read_llama(s: Settings) -> dict[str, Any]:
    bias = _bias(s)
    if s.flag("mlp_bias", default=False):
        if bias == "none":
            raise s.refuse("mlp_bias", value=True, why="comes with attention_bias only")
        bias = "all"
    shared = _read_shared(s)
    return shared | {"bias": bias, "rope": read_rope(s, shared["context"])}


def _write_llama(config: ModelConfig) -> dict[str, Any]:
    biases = {"attention_bias": config.bias != "none", "mlp_bias": config.bias == "all"}
    return _write_shared(config) | write_rope(config.rope) | biases


def _read_qwen2(s: Settings) -> dict[str, Any]:
    shared = _read_shared(s)
    return shared | {
        "rope": read_rope(s, shared["context"]),
        "attention": read_layer_types(s, shared["n_layer"], _last_layers),
    }


def _last_layers(s: Settings, n_layer: int) -> list[bool]:
    """Qwen's rule: the layers from `max_window_layers` on see a window, if any does."""
    used = s.flag("use_sliding_window", default=False)
    first = s.values.get("max_window_layers", 28)
    if type(first) is not int:
        raise s.refuse("max_window_layers", first, "expected a whole number")
    return [used and layer >= first for layer in range(n_layer)]


def _write_qwen2(config: ModelConfig) -> dict[str, Any]:
    layers = write_layer_types(config)
    rule = {
        "use_sliding_window": layers["sliding_window"] is not None,
        "max_window_layers": config.n_layer,
    }
    return _write_shared(config) | write_rope(config.rope) | layers | rule


def _read_qwen3(s: Settings) -> dict[str, Any]:
    return _read_qwen2(s) | {"bias": _bias(s)}


def _write_qwen3(config: ModelConfig) -> dict[str, Any]:
    return _write_qwen2(config) | {"attention_bias": config.bias == "attention"}


def _read_gemma3(s: Settings) -> dict[str, Any]:
    s.whole("head_dim")  # here it is no share of the width that could be left out
    shared = _read_shared(s, activation="hidden_activation", tied=True)
    return shared | {
        "bias": _bias(s),
        "rope": read_rope_by_layer(s, shared["context"], 1_000_000.0, 10_000.0),
        "attention": read_layer_types(s, shared["n_layer"], _all_but_every_sixth),
    }


def _all_but_every_sixth(s: Settings, n_layer: int) -> list[bool]:
    """Gemma's rule: five layers see a window and the next one all, unless the file says 6 anew."""
    every = s.whole("sliding_window_pattern", 6)
    return [(layer + 1) % every != 0 for layer in range(n_layer)]


def _write_gemma3(config: ModelConfig) -> dict[str, Any]:
    return (
        _write_shared(config, activation="hidden_activation")
        | write_rope_by_layer(config.rope)
        | write_layer_types(config)
        | {
            "attention_bias": config.bias == "attention",
            # Scores are divided by the root of this. What it was went into the queries' gain.
            "query_pre_attn_scalar": config.head_dim,
        }
    )


LLAMA = Family(
    model_type="llama",
    architecture="LlamaForCausalLM",
    prefix="model.",
    fixed=_SHARED | {"qk_norm": False},
    choices={"ffn": _GATED, "bias": ("none", "attention", "all")},
    has_windows=False,
    read=_read_llama,
    write=_write_llama,
    modules=_MODULES,
)
QWEN2 = Family(
    model_type="qwen2",
    architecture="Qwen2ForCausalLM",
    prefix="model.",
    fixed=_SHARED | {"qk_norm": False, "bias": "qkv"},
    choices={"ffn": _GATED},
    has_windows=True,
    read=_read_qwen2,
    write=_write_qwen2,
    modules=_MODULES,
)
QWEN3 = Family(
    model_type="qwen3",
    architecture="Qwen3ForCausalLM",
    prefix="model.",
    fixed=_SHARED | {"qk_norm": True},
    choices={"ffn": _GATED, "bias": ("none", "attention")},
    has_windows=True,
    read=_read_qwen3,
    write=_write_qwen3,
    modules=_MODULES,
)
GEMMA3 = Family(
    model_type="gemma3_text",
    architecture="Gemma3ForCausalLM",
    prefix="model.",
    fixed=_SHARED | {"qk_norm": True, "norm_place": "both", "scale_embedding": True},
    choices={"ffn": _GATED, "bias": ("none", "attention")},
    has_windows=True,
    read=_read_gemma3,
    write=_write_gemma3,
    modules={
        **_MODULES,
        "attention_after": "model.layers.{}.post_attention_layernorm",
        "feed_forward_norm": "model.layers.{}.pre_feedforward_layernorm",
        "feed_forward_after": "model.layers.{}.post_feedforward_layernorm",
    },
    gain_from_one=True,
)
