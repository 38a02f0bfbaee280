"""Adapters in the layout of PEFT: `adapter_config.json` and `adapter_model.safetensors`.

Where one matrix of ours is several of theirs (Q, K and V), they share its A, and each has its rows
of B: the same change.
"""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from jielong.core.errors import CheckpointError
from jielong.core.files import write_atomic
from jielong.model.config import ModelConfig
from jielong.model.formats.families import write_config
from jielong.model.formats.places import Place, places
from jielong.model.formats.safetensors_files import (
    Stored,
    check_type,
    open_file,
    read_into,
    refuse_pickled,
    write_tensors,
)
from jielong.model.lora import LoraConfig
from jielong.model.transformer import Transformer

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX, _A, _B = "base_model.model.", ".lora_A.weight", ".lora_B.weight"
# Settings that make an adapter more than B A, or change the model it belongs to.
_BEYOND = (
    "alora_invocation_tokens",
    "alpha_pattern",
    "layer_replication",
    "lora_bias",
    "modules_to_save",
    "target_parameters",
    "trainable_token_indices",
    "use_dora",
    "use_qalora",
)
# How A and B were drawn; the other ways take something from the model's own weights.
_STARTS = (True, False, "gaussian", "orthogonal", "eva")


def is_adapter(folder: Path) -> bool:
    """Whether a folder is of this layout, as far as its names tell."""
    return (folder / CONFIG).is_file()


def write_adapter(
    folder: Path,
    shape: ModelConfig,
    lora: LoraConfig,
    tensors: Mapping[str, Tensor],
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write the adapter of a model of this `shape`; `tensors` are `NAME.lora_a` and `NAME.lora_b`.

    Raises `ConfigError`, before anything is written, for a shape that no family has.
    """
    found = _matrices(shape)
    theirs: dict[str, Tensor] = {}
    chosen = []
    for name, place in found.items():
        ours = place.name.removesuffix(".weight")
        if f"{ours}.lora_a" in tensors:
            chosen.append(name)
            theirs[f"{_PREFIX}{name}{_A}"] = tensors[f"{ours}.lora_a"]
            theirs[f"{_PREFIX}{name}{_B}"] = place.part(tensors[f"{ours}.lora_b"])
    # Theirs share the memory of ours, each a part: a copy is a tensor that can be written.
    copies = {name: t.to(dtype).contiguous().clone() for name, t in theirs.items()}
    write_tensors(folder / WEIGHTS, copies)
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": None,
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "lora_dropout": lora.dropout,
        "target_modules": _targets(chosen, list(found)),
        "fan_in_fan_out": any(found[name].transposed for name in chosen),
        "bias": "none",
        "inference_mode": True,
    }
    write_atomic(folder / CONFIG, json.dumps(settings, indent=2) + "\n")


@torch.no_grad()
def merge_adapter(model: Transformer, folder: Path) -> None:
    """Add the adapter in `folder` to the model's matrices: W + scale B A.

    Raises `CheckpointError` for an adapter that is damaged, of another shape, or more than that.
    """
    settings = _settings(folder)
    found = _matrices(model.config)
    weights = model.state_dict()  # shares its memory with the model
    for name, (a, b) in _pairs(folder).items():
        place = found.get(name)
        if place is None:
            raise CheckpointError(
                f"{folder / WEIGHTS}: {name} is no matrix of this model: give the model that the "
                "adapter was made for"
            )
        rows, columns = place.part(weights[place.name]).shape
        if b.shape[0] != rows or a.shape[1] != columns:
            raise CheckpointError(
                f"{folder / WEIGHTS}: the adapter of {name} is for {b.shape[0]} x {a.shape[1]}, "
                f"the model has {rows} x {columns}: give the model that it was made for"
            )
        rank = a.shape[0]
        scale = settings["lora_alpha"] / (rank**0.5 if settings.get("use_rslora") else rank)
        place.part(weights[place.name]).add_((b @ a).to(model.embedding.weight.device), alpha=scale)


def _matrices(shape: ModelConfig) -> dict[str, Place]:
    """Where the weights of their linear layers go in ours, by the layer's name."""
    family, _ = write_config(shape)
    with torch.device("meta"):
        state = Transformer(shape).state_dict()
    shapes = {name: tensor.shape for name, tensor in state.items()}
    return {
        name.removesuffix(".weight"): place
        for name, place in places(family, shape, shapes).items()
        if len(place.shape) == 2 and "embedding" not in place.name
    }


def _targets(chosen: list[str], known: list[str]) -> list[str]:
    """Names as PEFT looks for them: by their last part where all that end so are meant."""
    ends = [name.rpartition(".")[2] for name in chosen]
    in_all = Counter(name.rpartition(".")[2] for name in known)
    whole = {end for end, count in Counter(ends).items() if count == in_all[end]}
    return sorted({e if e in whole else n for n, e in zip(chosen, ends, strict=True)})


def _settings(folder: Path) -> dict[str, Any]:
    try:
        settings = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        scale = settings["lora_alpha"] / settings["r"]
        kind = settings["peft_type"]
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise CheckpointError(
            f"{folder / CONFIG}: no adapter's settings ({error!r}): copy it anew"
        ) from None
    beyond = [name for name in _BEYOND if settings.get(name)]
    if settings.get("bias", "none") != "none":
        beyond.append("bias")
    if settings.get("init_lora_weights", True) not in _STARTS:
        beyond.append("init_lora_weights")
    if kind != "LORA" or beyond or not scale > 0:
        name = beyond[0] if beyond else "peft_type" if kind != "LORA" else "lora_alpha"
        raise CheckpointError(
            f"{folder / CONFIG}: {name}: {json.dumps(settings[name])}: only plain LoRA is read: "
            "merge it into its model with PEFT's merge_and_unload, and import that"
        )
    return settings


def _pairs(folder: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """A and B of each of their layers, in float32."""
    if not (folder / WEIGHTS).exists():
        refuse_pickled(folder)
        raise CheckpointError(f"{folder}: holds no weights: {WEIGHTS} is missing")
    stored = open_file(folder / WEIGHTS)
    pairs: dict[str, tuple[Stored, Stored]] = {}
    for key in list(stored):
        if key.startswith(_PREFIX) and key.endswith(_A):
            name = key.removeprefix(_PREFIX).removesuffix(_A)
            other = f"{_PREFIX}{name}{_B}"
            if other in stored:
                pairs[name] = stored.pop(key), stored.pop(other)
    if stored or not pairs:
        what = min(stored, default="no tensor")
        raise CheckpointError(
            f"{folder / WEIGHTS}: {what}: is no pair of A and B: only LoRA of linear layers is read"
        )
    for name, (a, b) in pairs.items():
        if not len(a.shape) == len(b.shape) == 2 or a.shape[0] != b.shape[1]:
            raise CheckpointError(
                f"{folder / WEIGHTS}: A and B of {name} do not fit together: copy the file anew"
            )
    return {name: (_numbers(a), _numbers(b)) for name, (a, b) in pairs.items()}


def _numbers(stored: Stored) -> Tensor:
    check_type(stored)
    found = torch.empty(stored.shape)
    read_into(stored, found)
    return found
