"""GPT-2: learned positions, layer norms, biases everywhere, and matrices that lie the other way."""

from typing import Any

from jielong.model.config import ModelConfig
from jielong.model.formats.family import Family
from jielong.model.formats.settings import MOST_LAYERS, Settings

_FFN = {
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu": "gelu",
    "relu": "relu",
    "relu2": "relu2",
}
_DROPOUTS = ("resid_pdrop", "embd_pdrop", "attn_pdrop")


def _read(s: Settings) -> dict[str, Any]:
    width, heads = s.whole("n_embd"), s.whole("n_head")
    dropouts = {_dropout(s, key) for key in _DROPOUTS}
    return {
        "vocab_size": s.whole("vocab_size"),
        "context": s.whole("n_positions"),
        "n_layer": s.whole("n_layer", most=MOST_LAYERS),
        "width": width,
        "n_head": heads,
        "n_kv_head": heads,
        "ffn_width": s.whole("n_inner", 4 * width),
        "norm_eps": s.number("layer_norm_epsilon", 1e-5),
        "ffn": s.choice("activation_function", _FFN, "gelu_new"),
        "tied": s.flag("tie_word_embeddings", default=True),
        # Ours is one number. It matters to further training only, so three are no fault.
        "dropout": dropouts.pop() if len(dropouts) == 1 else 0.0,
    }


def _dropout(s: Settings, key: str) -> float:
    value = s.values.get(key)
    return 0.0 if value == 0 and value is not False else s.number(key, 0.1)


def _write(config: ModelConfig) -> dict[str, Any]:
    return {
        "vocab_size": config.vocab_size,
        "n_positions": config.context,
        "n_layer": config.n_layer,
        "n_embd": config.width,
        "n_head": config.n_head,
        "n_inner": config.ffn_width,
        "layer_norm_epsilon": config.norm_eps,
        "activation_function": next(theirs for theirs, ours in _FFN.items() if ours == config.ffn),
        "tie_word_embeddings": config.tied,
        **dict.fromkeys(_DROPOUTS, config.dropout),
    }


GPT2 = Family(
    model_type="gpt2",
    architecture="GPT2LMHeadModel",
    prefix="transformer.",
    fixed={
        "positions": "learned",
        "norm": "layer",
        "norm_place": "pre",
        "qk_norm": False,
        "bias": "all",
        "scale_embedding": False,
    },
    choices={"ffn": ("gelu_tanh", "gelu", "relu", "relu2")},
    has_windows=False,
    read=_read,
    write=_write,
    modules={
        "embedding": "transformer.wte",
        "position_embedding": "transformer.wpe",
        "norm": "transformer.ln_f",
        "head": "lm_head",
        "attention_norm": "transformer.h.{}.ln_1",
        "attention.qkv": "transformer.h.{}.attn.c_attn",
        "attention.output": "transformer.h.{}.attn.c_proj",
        "feed_forward_norm": "transformer.h.{}.ln_2",
        "feed_forward.up": "transformer.h.{}.mlp.c_fc",
        "feed_forward.down": "transformer.h.{}.mlp.c_proj",
    },
    transposed=frozenset(
        {"attention.qkv", "attention.output", "feed_forward.up", "feed_forward.down"}
    ),
    neutral={"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False},
)
