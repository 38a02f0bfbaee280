"""Rotary positions as GGUF files have them: keys, and for Llama 3 a tensor.

That tensor holds how much slower each pair turns. Llama 3's formula has four numbers, which the
files do not keep; they are found again from the tensor.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from jielong.model.config import ModelConfig, RopeConfig
from jielong.model.formats.gguf_file import read_into
from jielong.model.formats.gguf_keys import Keys
from jielong.model.positions import frequencies_of

FACTORS = "rope_freqs.weight"
_LLAMA3_CONTEXT = 8192  # of Llama 3.0, from which all that followed were stretched
_PUBLISHED = (8.0, 32.0)  # of Llama 3.1 and 3.2
_LOCAL_BASE = 10_000.0


def read_rope(
    keys: Keys, settings: Mapping[str, Any], scalings: Sequence[str], *, local: bool
) -> RopeConfig:
    """The rotary positions of a file; with `local` layers that see a window have their own base."""
    size = settings["head_size"] or settings["width"] // settings["n_head"]
    for key in ("rope.dimension_count", "rope.dimension_count_swa", "attention.key_length_swa"):
        keys.only(key, size)
    keys.only("attention.value_length_swa", size)
    base, local_base = (
        keys.number("rope.freq_base", 10_000.0),
        keys.number("rope.freq_base_swa", _LOCAL_BASE),
    )
    rope = _scaled(keys, settings, RopeConfig(base=base, local_base=local_base if local else None))
    if FACTORS not in keys.file.tensors or "llama3" not in scalings:
        return rope
    if rope.scaling != "none":
        raise keys.file.error(f"{FACTORS} and rope.scaling.type both slow positions: give one")
    return _llama3(keys, rope, size)


def write_rope(config: ModelConfig) -> dict[str, Any]:
    """Their keys; `factors_of` gives the tensor that belongs to them."""
    rope = config.rope
    values: dict[str, Any] = {"rope.freq_base": rope.base}
    if "sliding" in config.attention:
        values["rope.freq_base_swa"] = rope.local_base or rope.base
    if rope.scaling in ("linear", "yarn"):
        values |= {"rope.scaling.type": rope.scaling, "rope.scaling.factor": rope.factor}
    if rope.scaling in ("yarn", "llama3"):
        values["rope.scaling.original_context_length"] = rope.original_context
    if rope.scaling == "yarn" and rope.attention_factor is not None:
        values["rope.scaling.attn_factor"] = rope.attention_factor / _sharpening(rope.factor)
    return values


def factors_of(rope: RopeConfig, size: int) -> Tensor | None:
    """How much slower each pair of a head of `size` turns, (D/2,), where Llama 3's rule is used."""
    if rope.scaling != "llama3":
        return None
    plain, _ = frequencies_of(replace(rope, scaling="none"), size)
    slowed, _ = frequencies_of(rope, size)
    return (plain / slowed).float()


def rope_obstacles(config: ModelConfig, scalings: Sequence[str], *, local: bool) -> list[str]:
    """The settings that llama.cpp would pass over in an architecture with these `scalings`."""
    rope, wrong = config.rope, []
    if rope.scaling not in scalings:
        wrong.append(f"rope.scaling: {rope.scaling}")
    if rope.scaling == "yarn" and (rope.beta_fast, rope.beta_slow) != (32.0, 1.0):
        wrong.append(f"rope.beta_fast, rope.beta_slow: {rope.beta_fast}, {rope.beta_slow}")
    windows = "sliding" in config.attention
    if rope.local_base is not None and not (local and windows):
        wrong.append(f"rope.local_base: {rope.local_base}")
    if rope.local_base is None and windows and rope.scaling != "none":
        wrong.append(f"rope.scaling of layers that see a window: {rope.scaling}")
    return wrong


def _scaled(keys: Keys, settings: Mapping[str, Any], rope: RopeConfig) -> RopeConfig:
    kind = keys.get("rope.scaling.type", "linear")
    factor = keys.number("rope.scaling.factor", keys.number("rope.scale_linear", 1.0))
    original = keys.whole("rope.scaling.original_context_length", settings["context"])
    sharpened = keys.number("rope.scaling.attn_factor", 1.0)
    fast, slow = (
        keys.number(f"rope.scaling.yarn_beta_{which}", default)
        for which, default in (("fast", 32.0), ("slow", 1.0))
    )
    keys.get("rope.scaling.finetuned")
    # llama.cpp passes it over; what others mean by it is not certain.
    keys.only("rope.scaling.yarn_attn_factor", 1.0)
    if keys.get("rope.scaling.yarn_ext_factor", 1.0) not in (1.0, -1.0):  # -1: as is usual
        raise keys.refuse("rope.scaling.yarn_ext_factor", "only 1 can be read")
    if kind == "yarn":
        return replace(
            rope,
            scaling="yarn",
            factor=factor,
            original_context=original,
            beta_fast=fast,
            beta_slow=slow,
            # Six digits: as many as a float32 keeps.
            attention_factor=None if sharpened == 1 else round(sharpened * _sharpening(factor), 6),
        )
    keys.only("rope.scaling.attn_factor", 1.0)
    if kind == "linear":
        return rope if factor == 1 else replace(rope, scaling="linear", factor=factor)
    keys.only("rope.scaling.type", "none")
    return rope


def _sharpening(factor: float) -> float:
    """What YaRN multiplies cosines and sines by (arXiv:2309.00071, section 3.4)."""
    return 0.1 * math.log(factor) + 1 if factor > 1 else 1.0


def _llama3(keys: Keys, rope: RopeConfig, size: int) -> RopeConfig:
    stored = keys.file.tensors[FACTORS]
    if stored.shape != (size // 2,):
        raise keys.file.error(f"{FACTORS} has shape {list(stored.shape)}, not {[size // 2]}")
    factors = torch.empty(size // 2)
    read_into(keys.file, stored, factors)
    if bool((factors == 1).all()):
        return rope
    original = keys.get("rope.scaling.original_context_length", _LLAMA3_CONTEXT)
    for factor, low, high in _candidates(factors, rope, size, original):
        if not 0 < low < high:
            continue
        found = replace(
            rope,
            scaling="llama3",
            factor=factor,
            original_context=original,
            low_frequency_factor=low,
            high_frequency_factor=high,
        )
        again = factors_of(found, size)
        assert again is not None
        if torch.allclose(again, factors, rtol=1e-5, atol=0):
            return found
    raise keys.file.error(f"{FACTORS} does not follow Llama 3's rule: no other can be read")


def _candidates(
    factors: Tensor, rope: RopeConfig, size: int, original: int
) -> Iterator[tuple[float, float, float]]:
    """What `factor`, `low` and `high` may have been: as published, else as the pairs say.

    With turns t in the old context, 1/factor_i = k + (1 - k)/factor, k = (t - low)/(high - low)
    between 0 and 1. So all pairs between the slow and the kept ones lie on one line. Where no pair
    is wholly slow the line may as well begin at the slowest.
    """
    slowest = float(str(factors.max().numpy()))
    for factor in (slowest, *_PUBLISHED):
        yield factor, 1.0, 4.0
    plain, _ = frequencies_of(rope, size)
    turns = original * plain / (2 * math.pi)
    kept = (1 / factors.double() - 1 / slowest) / (1 - 1 / slowest)
    between = (kept > 1e-6) & (kept < 1 - 1e-6)
    if int(between.sum()) < 2:
        between[int(kept.argmin())] = True
    if int(between.sum()) < 2:  # two kinds of pairs only: the line stands between them
        between[int(kept.argmin()) - 1] = True
    columns = torch.stack([turns[between], torch.ones_like(turns[between])], dim=1)
    slope, start = torch.linalg.lstsq(columns, kept[between, None]).solution.flatten().tolist()
    if slope > 0:
        low, high = -start / slope, (1 - start) / slope
        yield slowest, round(low, 4), round(high, 4)
        yield slowest, low, high
