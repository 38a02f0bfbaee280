"""Where a token stands: rotary angles for attention, sinusoids for the embedding."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from jielong.model.config import ModelConfig, RopeConfig
from jielong.model.tiles import tiles

AT_FIRST = 4096
"""Positions whose angles are there from the start; a model may state a context of any length."""


class Rotary(nn.Module):
    """Rotary positions (arXiv:2104.09864, eq. 15): pair i turns by p base^(-2i/D) at position p.

    The angles of layers that see a window only are others where `rope.local_base` says so.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, config: ModelConfig, *, local: bool = False) -> None:
        super().__init__()
        self.frequencies, self.sharpen = frequencies_of(config.rope, config.head_dim, local=local)
        cos, sin = self._table(min(config.context, AT_FIRST))
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, positions: Tensor, reach: int) -> tuple[Tensor, Tensor]:
        """Cosines and sines of `positions` (B, T) or (T,), shaped to broadcast over heads.

        All positions are below `reach`.
        """
        if reach > len(self.cos):
            cos, sin = self._table(max(reach, 2 * len(self.cos)))
            self.cos, self.sin = cos.to(self.cos.device), sin.to(self.sin.device)
        return self.cos[positions].unsqueeze(-3), self.sin[positions].unsqueeze(-3)

    def _table(self, rows: int) -> tuple[Tensor, Tensor]:
        # On the CPU even where a model is made without memory: no file holds these tables.
        steps = torch.arange(rows, dtype=torch.float64, device="cpu")
        angles = steps[:, None] * self.frequencies
        angles = torch.cat([angles, angles], dim=-1)  # (T, D): each pair is (i, i + D/2)
        return (angles.cos() * self.sharpen).float(), (angles.sin() * self.sharpen).float()


def frequencies_of(rope: RopeConfig, size: int, *, local: bool = False) -> tuple[Tensor, float]:
    """The angle (D/2,) that each pair turns by at each step, and what cosines are multiplied by."""
    base = rope.local_base if local and rope.local_base else rope.base
    plain = base ** (-torch.arange(0, size, 2, dtype=torch.float64, device="cpu") / size)
    if rope.scaling == "none" or (local and rope.local_base):
        return plain, 1.0
    if rope.scaling == "linear":
        return plain / rope.factor, 1.0
    if rope.scaling == "llama3":
        return _llama3(rope, plain), 1.0
    sharpen = rope.attention_factor
    if sharpen is None:
        sharpen = 0.1 * math.log(rope.factor) + 1 if rope.factor > 1 else 1.0
    return _yarn(rope, plain, base), sharpen


def _llama3(rope: RopeConfig, plain: Tensor) -> Tensor:
    """Pairs that turn often in the old context stay; seldom ones slow down; between, a ramp.

    As in Meta's code for Llama 3.1, no paper of its own: arXiv:2309.00071, eqs. 17 to 20, with
    alpha and beta called low and high frequency factor.
    """
    turns = rope.original_context * plain / (2 * math.pi)
    low, high = rope.low_frequency_factor, rope.high_frequency_factor
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return plain * (kept + (1 - kept) / rope.factor)


def _yarn(rope: RopeConfig, plain: Tensor, base: float) -> Tensor:
    """The same with a ramp over the pairs' numbers.

    So does the code of arXiv:2309.00071; its eq. 18 has the ramp over turns. What cosines and sines
    are multiplied by is its eq. 22.
    """
    pairs = len(plain)

    def pair_with(turns: float) -> float:
        wavelength = rope.original_context / (turns * 2 * math.pi)
        return pairs * math.log(wavelength) / math.log(base)

    low = max(math.floor(pair_with(rope.beta_fast)), 0)
    high = min(math.ceil(pair_with(rope.beta_slow)), 2 * pairs - 1)
    numbers = torch.arange(pairs, dtype=torch.float64, device="cpu")
    slowed = ((numbers - low) / max(high - low, 0.001)).clamp(0, 1)
    return plain * (1 - slowed + slowed / rope.factor)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each channel pair of `x` (B, H, T, D) by its angle."""
    if torch.compiler.is_compiling():
        first, second = x.chunk(2, dim=-1)
        return x * cos + torch.cat([-second, first], dim=-1) * sin
    return _Rotation.apply(x, cos, sin)


class _Rotation(torch.autograd.Function):
    """Its backward pass turns by the negative angle."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(cos, sin)
        return _rotated(x, cos, sin)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any,  # noqa: ANN401
        dy: Tensor,
    ) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _rotated(dy, cos, -sin), None, None


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """(x1 cos - x2 sin, x2 cos + x1 sin) for the halves x1, x2 of the channels."""
    y, half = torch.empty_like(x), x.shape[-1] // 2
    signed = torch.cat([-sin[..., :half], sin[..., half:]], dim=-1)
    by_row = cos.dim() == x.dim() and len(cos) == len(x)
    for tile in tiles(x):
        cos_tile, sin_tile = (cos[tile], signed[tile]) if by_row else (cos, signed)
        out = torch.mul(x[tile], cos_tile, out=y[tile])
        out[..., :half].addcmul_(x[tile][..., half:], sin_tile[..., :half])
        out[..., half:].addcmul_(x[tile][..., :half], sin_tile[..., half:])
    return y


def sinusoids(context: int, width: int) -> Tensor:
    """(T, C): sin(p / 10000^(2i/C)) in the even channels, its cosine in the odd ones.

    arXiv:1706.03762, section 3.5.
    """
    channels = torch.arange(0, width, 2, dtype=torch.float64, device="cpu")
    places = torch.arange(context, dtype=torch.float64, device="cpu")
    angles = places[:, None] * 10_000 ** (-channels / width)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :width].float()
