"""Attention that also says how much it weighs: output and log-sum-exp, and their backward pass.

Two kernels of one meaning. The fused one is PyTorch's own for processors, which goes over the
scores in tiles and stores none (arXiv:2205.14135); it is private to PyTorch, so its presence is
checked. The plain one is written out, for other devices and for dropout, and forms the scores of
one call. Attention computed in several calls, as `sparse_attention` does it, needs the log-sum-exp
to weigh them against each other, which `scaled_dot_product_attention` keeps to itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

FUSED = "_scaled_dot_product_flash_attention_for_cpu"


@dataclass(frozen=True)
class Dropout:
    """Which probabilities are dropped: drawn from `seed`, so that the backward pass draws them
    again instead of keeping them."""

    probability: float
    seed: int

    def factors(self, probabilities: Tensor) -> Tensor:
        """0 where dropped, 1 / (1 - probability) elsewhere."""
        generator = torch.Generator(probabilities.device).manual_seed(self.seed)
        kept = torch.empty_like(probabilities).bernoulli_(1 - self.probability, generator=generator)
        return kept / (1 - self.probability)


@dataclass(frozen=True)
class Scores:
    """How scores come from queries and keys, and what happens to their softmax.

    `mask` (B or 1, 1, Q, K) is added to them: `hidden(dtype)` where nothing is attended to. With
    `causal`, query t attends to no key after t.
    """

    scale: float
    causal: bool
    mask: Tensor | None
    dropout: Dropout | None


class Kernel(NamedTuple):
    """A way to compute attention; both functions take (B, H, T, D)."""

    forward: Callable[[Tensor, Tensor, Tensor, Scores], tuple[Tensor, Tensor]]
    backward: Callable[..., tuple[Tensor, Tensor, Tensor]]


def hidden(dtype: torch.dtype) -> float:
    """A score that counts for nothing beside any other.

    Finite, because a query may see none of a call's keys: with minus infinity the fused kernel
    calls its log-sum-exp 0, as if it had seen something.
    """
    return torch.finfo(dtype).min / 2


def fused_forward(
    q: Float[Tensor, "B H Q D"],
    k: Float[Tensor, "B H K D"],
    v: Float[Tensor, "B H K D"],
    scores: Scores,
) -> tuple[Float[Tensor, "B H Q D"], Float[Tensor, "B H Q"]]:
    """Output and log-sum-exp."""
    kernel = getattr(torch.ops.aten, FUSED)
    return kernel(q, k, v, 0.0, scores.causal, attn_mask=scores.mask, scale=scores.scale)


def fused_backward(
    gradient: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, scores: Scores
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of q, k and v, given what was or would be `out` and `lse` over all keys."""
    kernel = getattr(torch.ops.aten, FUSED + "_backward")
    return kernel(
        *(gradient, q, k, v, out, lse, 0.0, scores.causal),
        attn_mask=scores.mask,
        scale=scores.scale,
    )


def logits(q: Tensor, k: Tensor, scores: Scores) -> Float[Tensor, "B H Q K"]:
    """Scores before the softmax, in float32 or better."""
    found = torch.matmul(q, k.mT).to(torch.promote_types(q.dtype, torch.float32)) * scores.scale
    if scores.mask is not None:
        found = found + scores.mask
    if scores.causal:
        later = torch.ones(found.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
        found = found.masked_fill(later, hidden(q.dtype))
    return found


def plain_forward(
    q: Float[Tensor, "B H Q D"],
    k: Float[Tensor, "B H K D"],
    v: Float[Tensor, "B H K D"],
    scores: Scores,
) -> tuple[Float[Tensor, "B H Q D"], Float[Tensor, "B H Q"]]:
    """Output and log-sum-exp."""
    found = logits(q, k, scores)
    lse = found.logsumexp(dim=-1)
    probabilities = (found - lse[..., None]).exp()
    if scores.dropout is not None:
        probabilities = probabilities * scores.dropout.factors(probabilities)
    return torch.matmul(probabilities.to(v.dtype), v), lse


def plain_backward(
    gradient: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, scores: Scores
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of q, k and v, given what was or would be `out` and `lse` over all keys."""
    probabilities = (logits(q, k, scores) - lse[..., None]).exp()
    wanted = torch.matmul(gradient, v.mT).to(probabilities.dtype)  # d loss / d probability
    weights = probabilities
    if scores.dropout is not None:
        factors = scores.dropout.factors(probabilities)
        weights, wanted = probabilities * factors, wanted * factors
    expected = (gradient * out).sum(dim=-1, keepdim=True)  # sum_j P_ij (do_i . v_j)
    pull = (probabilities * (wanted - expected) * scores.scale).to(q.dtype)
    return (
        torch.matmul(pull, k),
        torch.matmul(pull.mT, q),
        torch.matmul(weights.mT.to(gradient.dtype), gradient),
    )


@cache
def fused_exists() -> bool:
    """Whether this PyTorch has the fused kernel."""
    return all(hasattr(torch.ops.aten, name) for name in (FUSED, FUSED + "_backward"))


def kernel_for(device: torch.device, dropout: Dropout | None) -> Kernel:
    """The fastest kernel that can do it."""
    if device.type == "cpu" and dropout is None and fused_exists():
        return Kernel(fused_forward, fused_backward)
    return Kernel(plain_forward, plain_backward)
