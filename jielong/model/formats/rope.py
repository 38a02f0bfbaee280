"""Rotary positions as configurations of Hugging Face spell them, in both spellings.

The older one has `rope_theta` and `rope_scaling` at the top, the newer one has `rope_parameters`
with both in it. We write both: programs differ in which they know.
"""

import math
from typing import Any

from jielong.model.config import RopeConfig
from jielong.model.formats.settings import Settings

# What our configuration calls a setting of each kind, by the name that they give it.
_NAMES = {
    "default": {},
    "linear": {"factor": "factor"},
    "llama3": {
        "factor": "factor",
        "original_max_position_embeddings": "original_context",
        "low_freq_factor": "low_frequency_factor",
        "high_freq_factor": "high_frequency_factor",
    },
    "yarn": {
        "factor": "factor",
        "original_max_position_embeddings": "original_context",
        "beta_fast": "beta_fast",
        "beta_slow": "beta_slow",
        "attention_factor": "attention_factor",
    },
}
_NEUTRAL = {"partial_rotary_factor": 1.0, "truncate": True}
_ALSO = {"rope_type", "type", "rope_theta", "mscale", "mscale_all_dim", "finetuned", *_NEUTRAL}


def read_rope(settings: Settings, context: int, base: float = 10_000.0) -> RopeConfig:
    """The rotary positions of a configuration in which all layers have the same."""
    both = settings.table("rope_parameters").values | settings.table("rope_scaling").values
    settings.only({"partial_rotary_factor": 1.0})
    theta = settings.number("rope_theta", base)
    return _parse(Settings(both, f"{settings.where}: rope_scaling"), context, theta)


def read_rope_by_layer(settings: Settings, context: int, base: float, local: float) -> RopeConfig:
    """The same where layers that see a window have a base of their own (Gemma 3)."""
    newer = settings.table("rope_parameters")
    full = newer.table("full_attention").values | settings.table("rope_scaling").values
    sliding = newer.table("sliding_attention")
    sliding.only({"rope_type": "default", "type": "default", "partial_rotary_factor": 1.0})
    rope = _parse(
        Settings(full, f"{settings.where}: rope_scaling"),
        context,
        settings.number("rope_theta", base),
    )
    local = sliding.number("rope_theta", settings.number("rope_local_base_freq", local))
    return RopeConfig(**vars(rope) | {"local_base": local})


def write_rope(rope: RopeConfig) -> dict[str, Any]:
    """Both spellings of it."""
    scaling = _scaling(rope)
    return {
        "rope_theta": rope.base,
        "rope_scaling": scaling or None,
        "rope_parameters": {"rope_type": "default", "rope_theta": rope.base} | scaling,
    }


def write_rope_by_layer(rope: RopeConfig) -> dict[str, Any]:
    """Both spellings, with a base of their own for layers that see a window."""
    local = rope.base if rope.local_base is None else rope.local_base
    written = write_rope(rope)
    layers = {
        "full_attention": written["rope_parameters"],
        "sliding_attention": {"rope_type": "default", "rope_theta": local},
    }
    return written | {"rope_local_base_freq": local, "rope_parameters": layers}


def _parse(scaling: Settings, context: int, theta: float) -> RopeConfig:
    kind = scaling.values.get("rope_type", scaling.values.get("type", "default"))
    if kind not in _NAMES:
        raise scaling.refuse("rope_type", kind, f"only {', '.join(_NAMES)} can be read")
    names = _NAMES[kind]
    scaling.only(_NEUTRAL)
    unknown = [key for key in scaling.values if key not in names and key not in _ALSO]
    if unknown:
        raise scaling.refuse(unknown[0], scaling.values[unknown[0]], f"{kind} has no such setting")
    found: dict[str, Any] = {}
    for theirs, ours in names.items():
        if ours == "original_context":
            found[ours] = scaling.whole(theirs, context)
        elif theirs == "factor" or scaling.values.get(theirs) is not None:
            found[ours] = scaling.number(theirs)
    if kind == "yarn" and "attention_factor" not in found and scaling.values.get("mscale"):
        found["attention_factor"] = _attention_factor(scaling)
    base = scaling.number("rope_theta", theta)
    try:
        return RopeConfig(base=base, scaling="none" if kind == "default" else kind, **found)
    except ValueError as error:
        raise scaling.error("rope_type", f"{kind}: {error}") from None


def _attention_factor(scaling: Settings) -> float:
    """How much yarn sharpens where two `mscale` say so, as DeepSeek's configurations do."""
    factor = scaling.number("factor")

    def sharpened(key: str) -> float:
        return 0.1 * scaling.number(key) * math.log(factor) + 1 if factor > 1 else 1.0

    if not scaling.values.get("mscale_all_dim"):
        return 0.1 * math.log(factor) + 1 if factor > 1 else 1.0
    return sharpened("mscale") / sharpened("mscale_all_dim")


def _scaling(rope: RopeConfig) -> dict[str, Any]:
    if rope.scaling == "none":
        return {}
    values = {theirs: getattr(rope, ours) for theirs, ours in _NAMES[rope.scaling].items()}
    given = {key: value for key, value in values.items() if value is not None}
    # Older versions know the kind as `type`.
    return {"rope_type": rope.scaling, "type": rope.scaling} | given
