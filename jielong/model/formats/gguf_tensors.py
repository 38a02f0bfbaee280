"""Which tensors of a GGUF file make which of ours, and how.

Their Q, K and V, and their gate and up, are rows of one of ours. In files of Llama's architecture
the rows of Q and K are in another order, by which a rotary pair is two neighbours.
"""

import itertools
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from jielong.model.config import ModelConfig
from jielong.model.formats.gguf_architectures import Architecture, query_gain

_MODULES = {
    "embedding": ("token_embd",),
    "position_embedding": ("position_embd",),
    "norm": ("output_norm",),
    "head": ("output",),
}
_OF_A_BLOCK = {
    "attention_norm": ("attn_norm",),
    "attention.qkv": ("attn_q", "attn_k", "attn_v"),
    "attention.query_norm": ("attn_q_norm",),
    "attention.key_norm": ("attn_k_norm",),
    "attention.output": ("attn_output",),
    "attention_after": ("post_attention_norm",),
    "feed_forward_norm": ("ffn_norm",),
    "feed_forward.gate_up": ("ffn_gate", "ffn_up"),
    "feed_forward.up": ("ffn_up",),
    "feed_forward.down": ("ffn_down",),
    "feed_forward_after": ("post_ffw_norm",),
}


@dataclass(frozen=True)
class Part:
    """Rows of one of our tensors, and the tensor of theirs that they are.

    The first `interleaved` rows are in the other order there, in each head of `head_dim`. Theirs
    times `gain` is ours.
    """

    name: str
    rows: slice
    shape: tuple[int, ...]
    interleaved: int = 0
    head_dim: int = 0
    gain: float = 1.0

    def to_ours(self, theirs: Tensor) -> None:
        """Turn what was read, (R, ...), into what we have, in place."""
        if self.interleaved:
            turned = theirs[: self.interleaved]
            pairs = turned.unflatten(0, (-1, self.head_dim // 2, 2)).transpose(1, 2)
            turned.copy_(pairs.flatten(0, 2))
        if self.gain != 1:
            theirs *= self.gain

    def to_theirs(self, ours: Tensor) -> Tensor:
        """Our rows, (R, ...), as they have them."""
        rows = ours[self.rows]
        if self.interleaved:
            turned = rows[: self.interleaved].unflatten(0, (-1, 2, self.head_dim // 2))
            rows = torch.cat([turned.transpose(1, 2).flatten(0, 2), rows[self.interleaved :]])
        return rows if self.gain == 1 else rows / self.gain


def parts_of(
    architecture: Architecture,
    config: ModelConfig,
    shapes: Mapping[str, Sequence[int]],
    theirs: Container[str] = (),
) -> dict[str, list[Part]]:
    """What each of our tensors, of these `shapes`, is made of.

    A file may have Q, K and V as one matrix too, in any architecture: `theirs` are its names.
    """
    heads = {"attn_q": config.n_head, "attn_k": config.n_kv_head, "attn_v": config.n_kv_head}
    found = {}
    for ours, shape in shapes.items():
        names, suffix = _their_names(ours)
        sizes = [shape[0] // len(names)] * len(names)
        turned = [0] * len(names)
        if len(names) == 3:
            sizes = [count * config.head_dim for count in heads.values()]
            turned = [size * architecture.interleaved for size in sizes[:2]] + [0]
            fused = names[0].replace("attn_q", "attn_qkv")
            if architecture.fused or f"{fused}.{suffix}" in theirs:
                names, sizes, turned = [fused], [sum(sizes)], [sum(turned)]
        gain = query_gain(architecture, config) if names[0].endswith("attn_q_norm") else 1.0
        ends = itertools.accumulate(sizes)
        found[ours] = [
            Part(
                f"{name}.{suffix}",
                slice(end - size, end),
                (size, *shape[1:]),
                count,
                config.head_dim,
                gain,
            )
            for name, size, end, count in zip(names, sizes, ends, turned, strict=True)
        ]
    return found


def _their_names(ours: str) -> tuple[list[str], str]:
    """Their modules for our tensor, and whether it is a weight or a bias."""
    module, _, suffix = ours.rpartition(".")
    if not module.startswith("blocks."):
        return [*_MODULES[module]], suffix
    _, number, inner = module.split(".", 2)
    return [f"blk.{number}.{name}" for name in _OF_A_BLOCK[inner]], suffix
