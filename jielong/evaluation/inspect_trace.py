"""What a transformer computes on its way to the scores, seen from outside by hooks.

The model runs as it always does. Its kernels never show the attention weights, so those are
computed beside them, from the same queries, keys and mask.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from jielong.model.attention import Attention
from jielong.model.transformer import Transformer
from jielong.model.visibility import Visibility


@dataclass(frozen=True)
class Trace:
    """One text's way through L layers.

    `states` is what enters the first block, then what each block puts out; `attention[l, h, i, j]`
    is how much of what head h of layer l takes at position i comes from position j.
    """

    attention: Float[Tensor, "L H T T"]
    states: Float[Tensor, "L+1 T C"]
    scores: Float[Tensor, "T V"]


@torch.no_grad()
def trace(model: Transformer, ids: Sequence[int]) -> Trace:
    """Run `model` over one text, in the mode it is in, and keep what is passed on inside it."""
    states: list[Tensor] = []
    attention: list[Tensor] = []

    def see_block(_: torch.nn.Module, given: tuple, made: Tensor) -> None:
        states.extend([made[0]] if states else [given[0][0], made[0]])

    def see_attention(layer: Attention, given: tuple, _: Tensor) -> None:
        x, rotary, sight, _ = given
        q, k, _ = layer.project(x, rotary)
        attention.append(attention_weights(layer, q, k, sight)[0])

    hooks = [block.register_forward_hook(see_block) for block in model.blocks]
    layers = (module for module in model.modules() if isinstance(module, Attention))
    hooks += [layer.register_forward_hook(see_attention) for layer in layers]
    try:
        device = model.embedding.weight.device
        scores = model(torch.tensor([ids], device=device))[0]
    finally:
        for hook in hooks:
            hook.remove()
    return Trace(torch.stack(attention), torch.stack(states), scores)


def attention_weights(
    layer: Attention,
    q: Float[Tensor, "B H T D"],
    k: Float[Tensor, "B G S D"],
    sight: Visibility,
) -> Float[Tensor, "B H T S"]:
    """softmax(Q K^T / sqrt(D)) over the keys that the layer sees (arXiv:1706.03762, eq. 1)."""
    k = k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)  # a group of heads shares its keys
    scores = q @ k.mT / math.sqrt(layer.head_dim)
    seen = sight.mask(layer.pattern)
    if seen is None and sight.causal:
        seen = sight.keys <= sight.queries[..., :, None]
    return (scores if seen is None else scores.masked_fill(~seen, -torch.inf)).softmax(dim=-1)
