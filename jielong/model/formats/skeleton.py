"""Models without numbers yet, made only where the weights at hand can be theirs.

A model of a million layers is made for minutes, and one of 2^62 columns cannot be made at all: a
slip in a file of settings must be told before that.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import nn

from jielong.core.errors import CheckpointError

M = TypeVar("M", bound=nn.Module)
# Ours, Hugging Face's two, that of GGUF files, and that of torch's recurrent cells.
_LAYER = re.compile(r"(?:(?:^|\.)(?:blocks|layers|h|blk)\.|_l)([0-9]+)(?:\.|$)")
_MOST_CONTEXT = 2**31 - 1
_SIZES = ("vocab_size", "width", "ffn_width", "segments")


def fault_of(sizes: Mapping[str, Any], shapes: Mapping[str, Sequence[int]]) -> str | None:
    """What settings ask for and weights of these `shapes` cannot have, as `name: value: why`.

    Not all that may be wrong: each size is that of some tensor, and each layer has tensors.
    """
    layers = len({found[1] for name in shapes if (found := _LAYER.search(name))})
    if sizes.get("n_layer", 0) > layers:
        return f"n_layer: {sizes['n_layer']}: the weights are of {layers} layers"
    largest = max((max(shape) for shape in shapes.values() if shape and all(shape)), default=0)
    asked = {name: sizes.get(name, 0) for name in _SIZES}
    if sizes.get("head_size"):
        asked["n_head * head_size"] = sizes["n_head"] * sizes["head_size"]
    if sizes.get("positions") == "learned":
        asked["context"] = sizes["context"]
    if sizes.get("context", 0) > _MOST_CONTEXT:
        return f"context: {sizes['context']}: expected at most {_MOST_CONTEXT}"
    for name, size in asked.items():
        if size > largest:
            return f"{name}: {size}: no tensor of the weights is as large"
    return None


def build(
    make: Callable[[], M], sizes: Mapping[str, Any], shapes: Mapping[str, Sequence[int]], where: str
) -> M:
    """What `make` makes, without memory for its tensors.

    Raises `CheckpointError`, beginning with `where`, when weights of `shapes` cannot be its own.
    """
    fault = fault_of(sizes, shapes)
    if fault is not None:
        raise CheckpointError(f"{where}: {fault}: give the settings that belong to the weights")
    try:
        with torch.device("meta"):
            return make()
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{where}: no model of that shape can be made ({reason})") from None
