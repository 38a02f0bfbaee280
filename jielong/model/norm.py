"""The norm of a model, as its configuration names it."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from jielong.model.config import ModelConfig
from jielong.model.tiles import tiles


class RMSNorm(nn.RMSNorm):
    """x / rms(x) * gain over the last axis (arXiv:1910.07467, eq. 4), in the gain's own type.

    PyTorch has no kernel of its own for it on processors: there it is seven operations, and twenty
    in the backward pass. Its compiler makes one of the formula.
    """

    def forward(self, x: Tensor) -> Tensor:
        """`x` (..., C) -> (..., C), contiguous; under autocast `x` may be of half the width."""
        by_formula = x.device.type != "cpu" or torch.compiler.is_compiling()
        if by_formula or x.dtype != self.weight.dtype:
            return super().forward(x.to(self.weight.dtype))
        return _RMSNorm.apply(x, self.weight, self.eps)


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, eps: float) -> Tensor:  # noqa: ANN401
        rows = x if x.dim() < 3 else x.flatten(0, 1)
        y = torch.empty(rows.shape, dtype=x.dtype)
        scale = torch.empty((*rows.shape[:-1], 1), dtype=x.dtype)  # 1 / rms
        for tile in tiles(rows):
            torch.linalg.vector_norm(rows[tile], dim=-1, keepdim=True, out=scale[tile])
            scale[tile].square_().div_(x.shape[-1]).add_(eps).rsqrt_()
            torch.mul(rows[tile], scale[tile], out=y[tile]).mul_(gain)
        ctx.save_for_backward(x, gain, scale)
        return y.view(x.shape)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any,  # noqa: ANN401
        dy: Tensor,
    ) -> tuple[Tensor, Tensor, None]:
        x, gain, scale = ctx.saved_tensors
        size, scale = x.shape[-1], scale.view(-1, 1)
        rows, dy_rows = x.reshape(-1, size), dy.reshape(-1, size)
        # Layer norm's kernel, told that the mean was 0, is RMS norm's but for one thing: it takes
        # the mean slope out of each row, because moving a row as a whole would change nothing.
        dx, dgain, _ = torch.ops.aten.native_layer_norm_backward(
            dy_rows, rows, (size,), torch.zeros_like(scale), scale, gain, None, (True, True, False)
        )
        dx.addcmul_(scale, torch.mv(dy_rows, gain / size)[:, None])
        return dx.view(x.shape), dgain, None


def make_norm(config: ModelConfig) -> RMSNorm | nn.LayerNorm:
    """RMS norm, or (x - mean) / std * gain + bias (arXiv:1607.06450)."""
    kind = RMSNorm if config.norm == "rms" else nn.LayerNorm
    return kind(config.width, eps=config.norm_eps)
