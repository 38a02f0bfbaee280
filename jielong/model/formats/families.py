"""Which family a folder is of, and which family a model of ours can pass for."""

from typing import Any

from jielong.core.errors import ConfigError
from jielong.model.config import ModelConfig
from jielong.model.formats.family import Family
from jielong.model.formats.gpt2 import GPT2
from jielong.model.formats.rotary_families import GEMMA3, LLAMA, QWEN2, QWEN3
from jielong.model.formats.settings import Settings

FAMILIES = {family.model_type: family for family in (QWEN3, LLAMA, QWEN2, GEMMA3, GPT2)}
"""By `model_type`; where a model of ours is as near to two, the first one is named."""

# What would change the scores of a model of any family.
_NEUTRAL = {
    "quantization_config": None,
    "compression_config": None,
    "per_layer_config": None,
    "is_encoder_decoder": False,
    "add_cross_attention": False,
    "num_experts": 0,
    "num_local_experts": 0,
    "n_routed_experts": 0,
    "attn_logit_softcapping": None,
    "final_logit_softcapping": None,
    "use_bidirectional_attention": False,
    "pruned_heads": {},
}


def read_config(settings: Settings) -> tuple[Family, ModelConfig]:
    """The family and the shape that a `config.json` describes.

    Raises `CheckpointError` for a family that is none of ours, and wherever the file asks for more
    than we do: half a model gives wrong text without any error.
    """
    kind = settings.values.get("model_type")
    family = FAMILIES.get(kind) if isinstance(kind, str) else None
    if family is None:
        raise settings.refuse("model_type", kind, f"only {', '.join(FAMILIES)} can be read")
    named = settings.values.get("architectures") or [family.architecture]
    if not isinstance(named, list) or family.architecture not in named:
        raise settings.refuse("architectures", named, f"only {family.architecture} can be read")
    settings.only(_NEUTRAL)
    return family, family.config(settings)


def write_config(config: ModelConfig) -> tuple[Family, dict[str, Any]]:
    """The family that has this shape, and its `config.json`.

    Raises `ConfigError`, naming the settings in the way, when none has.
    """
    ways = {kind: family.obstacles(config) for kind, family in FAMILIES.items()}
    kind = min(ways, key=lambda kind: len(ways[kind]))
    if ways[kind]:
        raise ConfigError(
            f"{', '.join(ways[kind])}: no family that other programs read has this (the nearest is "
            f"{kind}): only models of such a shape can be exported"
        )
    family = FAMILIES[kind]
    head = {"architectures": [family.architecture], "model_type": kind}
    return family, head | family.write(config)
