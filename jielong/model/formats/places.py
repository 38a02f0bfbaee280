"""Where each tensor of a family goes in our model."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from jielong.model.config import ModelConfig
from jielong.model.formats.family import Family

_LAYER = re.compile(r"blocks\.(\d+)\.")
# What files of these families hold beside weights: masks and frequencies, which the shape tells.
_BUFFERS = re.compile(r"\.attn\.(?:masked_)?bias$|\.rotary_emb\.inv_freq$")


@dataclass(frozen=True)
class Place:
    """Rows `start` to `stop` of our tensor `name` are one of theirs, of this `shape`.

    With a `gain` theirs counts from 1: ours is (1 + theirs) * gain.
    """

    name: str
    start: int
    stop: int
    shape: tuple[int, ...]
    transposed: bool = False
    gain: float | None = None

    def part(self, ours: Tensor) -> Tensor:
        """The rows of our tensor."""
        return ours[self.start : self.stop]

    def take(self, ours: Tensor) -> Tensor:
        """Their tensor, out of ours; gains then count from 1 again, and hold their factor."""
        part = self.part(ours)
        if self.transposed:
            return part.T
        return part if self.gain is None else part - 1


def places(
    family: Family,
    config: ModelConfig,
    shapes: Mapping[str, torch.Size],
    query_gain: float = 1.0,
) -> dict[str, Place]:
    """For each tensor of a folder of `family` its place; `shapes` are those of our tensors."""
    return dict(_places(family, config, shapes, query_gain))


def _places(
    family: Family, config: ModelConfig, shapes: Mapping[str, torch.Size], query_gain: float
) -> Iterator[tuple[str, Place]]:
    heads, groups = config.n_head * config.head_dim, config.n_kv_head * config.head_dim
    parts = {
        "attention.qkv": [heads, groups, groups],
        "feed_forward.gate_up": [config.ffn_width, config.ffn_width],
    }
    for name, shape in shapes.items():
        layer = _LAYER.match(name)
        module, _, kind = (name[layer.end() :] if layer else name).rpartition(".")
        theirs = family.modules[module]
        names = (theirs,) if isinstance(theirs, str) else theirs
        sizes = [shape[0]] if len(names) == 1 else parts[module]
        gain = None
        if family.gain_from_one and kind == "weight" and len(shape) == 1:
            gain = query_gain if module == "attention.query_norm" else 1.0
        start = 0
        for each, size in zip(names, sizes, strict=True):
            transposed = module in family.transposed and kind == "weight"
            their_shape = (shape[1], size) if transposed else (size, *shape[1:])
            stored = f"{each.format(layer[1] if layer else '')}.{kind}"
            yield stored, Place(name, start, start + size, their_shape, transposed, gain)
            start += size


def is_buffer(name: str) -> bool:
    """Whether a stored tensor is no weight but something that the shape tells."""
    return _BUFFERS.search(name) is not None
