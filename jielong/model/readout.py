"""The surprisal of targets, -log p, straight from the states that predict them.

The scores over the vocabulary are the largest thing that a small model makes. Here they exist for a
few positions at a time: while they are in the cache they become their own gradient, and that the
gradients of states and matrix, so the backward pass has nothing left to do.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

SIZE = 2**20
"""Scores that exist at a time: 4 MiB in float32."""


def surprisal(
    states: Float[Tensor, "N C"], weight: Float[Tensor, "V C"], targets: Int[Tensor, "N"]
) -> Float[Tensor, ""]:
    """-log p(target) in nats, summed over N targets; the scores are `states` times `weight`."""
    if torch.is_autocast_enabled(states.device.type) or states.dtype != weight.dtype:
        return F.cross_entropy(F.linear(states, weight), targets, reduction="sum")
    return _Surprisal.apply(states, weight, targets)


class _Surprisal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, targets: Tensor) -> Tensor:  # noqa: ANN401
        total = torch.zeros((), dtype=states.dtype, device=states.device)
        dstates = torch.empty_like(states) if ctx.needs_input_grad[0] else None
        dweight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        step = max(1, SIZE // len(weight))
        room = states.new_empty(min(step, len(states)), len(weight))
        for start in range(0, len(states), step):
            part = slice(start, start + step)
            scores, chosen = room[: len(states[part])], targets[part, None]
            torch.mm(states[part], weight.T, out=scores)
            # The likeliest token's probability is never near 0, so its logarithm is exact.
            best, wanted = scores.amax(dim=-1, keepdim=True), scores.gather(-1, chosen)
            torch.softmax(scores, dim=-1, out=scores)
            total += (best - wanted - scores.amax(dim=-1, keepdim=True).log_()).sum()
            if any(ctx.needs_input_grad):
                scores.scatter_add_(-1, chosen, scores.new_full((), -1.0).expand_as(chosen))
            if dstates is not None:
                torch.mm(scores, weight, out=dstates[part])
            if dweight is not None:
                dweight.addmm_(scores.T, states[part])
        ctx.save_for_backward(dstates, dweight)
        return total

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any,  # noqa: ANN401
        slope: Tensor,
    ) -> tuple[Tensor | None, Tensor | None, None]:
        dstates, dweight = (None if d is None else d * slope for d in ctx.saved_tensors)
        return dstates, dweight, None
