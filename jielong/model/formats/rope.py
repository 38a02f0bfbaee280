"""Rotary positions as configurations of Hugging Face spell them, in both spellings.

The older one has `rope_theta` and `rope_scaling` at the top, the newer one has `rope_parameters`
with both in it. We write both: programs differ in which they know.
"""

import math
from dataclasses import replace
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
    settings.only({"partial_rotary_factor": 1.0})
    return _read(settings, settings.table("rope_parameters"), context, base)


def read_rope_by_layer(settings: Settings, context: int, base: float, local: float) -> RopeConfig:
    """The same where layers that see a window have a base of their own (Gemma 3)."""
    newer = settings.table("rope_parameters")
    rope = _read(settings, newer.table("full_attention"), context, base)
    sliding = newer.table("sliding_attention")
    sliding.only({"rope_type": "default", "type": "default", "partial_rotary_factor": 1.0})
    older = settings.number("rope_local_base_freq", local)
    return replace(rope, local_base=sliding.number("rope_theta", older))


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


def _read(settings: Settings, newer: Settings, context: int, base: float) -> RopeConfig:
    """By the older spelling where both are there, as `transformers` does."""
    older = settings.table("rope_scaling")
    scaling = older if older.values else newer
    theta = scaling.number("rope_theta", settings.number("rope_theta", base))
    kind = scaling.values.get("rope_type", scaling.values.get("type", "default"))
    if not isinstance(kind, str) or kind not in _NAMES:
        raise scaling.refuse("rope_type", kind, f"only {', '.join(_NAMES)} can be read")
    names = _NAMES[kind]
    scaling.only(_NEUTRAL)
    unknown = [key for key in scaling.values if key not in names and key not in _ALSO]
    if unknown:
        raise scaling.refuse(unknown[0], scaling.values[unknown[0]], f"{kind} has no such setting")
    found: dict[str, Any] = {"scaling": "none" if kind == "default" else kind}
    for theirs, ours in names.items():
        if ours == "original_context":
            found[ours] = scaling.whole(theirs, context)
        elif theirs == "factor" or scaling.values.get(theirs) is not None:
            found[ours] = scaling.number(theirs)
    sharpness = [scaling.values.get(key) for key in ("mscale", "mscale_all_dim")]
    if kind == "yarn" and "attention_factor" not in found and all(sharpness):
        found["attention_factor"] = _attention_factor(scaling)
    try:
        return RopeConfig(base=theta, **found)
    except ValueError as error:
        raise scaling.error("rope_type", f"{kind}: {error}") from None


def _attention_factor(scaling: Settings) -> float:
    """How much yarn sharpens where a file says it twice over, as DeepSeek's do."""
    stretch = math.log(max(scaling.number("factor"), 1.0))
    own, all_dim = scaling.number("mscale"), scaling.number("mscale_all_dim")
    return (0.1 * own * stretch + 1) / (0.1 * all_dim * stretch + 1)


def _scaling(rope: RopeConfig) -> dict[str, Any]:
    if rope.scaling == "none":
        return {}
    values = {theirs: getattr(rope, ours) for theirs, ours in _NAMES[rope.scaling].items()}
    given = {key: value for key, value in values.items() if value is not None}
    # Older versions know the kind as `type`.
    return {"rope_type": rope.scaling, "type": rope.scaling} | given
