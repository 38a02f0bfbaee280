"""The feed-forward sub-layer: each position by itself, out to more channels and back."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from jielong.model.config import ModelConfig
from jielong.model.tiles import tiles


def _gelu_tanh(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


_ACTIVATIONS = {
    "gelu": F.gelu,  # arXiv:1606.08415; by tanh in GPT-2's code
    "gelu_tanh": _gelu_tanh,
    "relu": F.relu,
    "relu2": lambda x: F.relu(x).square(),  # arXiv:2109.08668
}

_GATES: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor], dict[str, str]]] = {
    "swiglu": (torch.ops.aten.silu, torch.ops.aten.silu_backward, {}),
    "geglu": (torch.ops.aten.gelu, torch.ops.aten.gelu_backward, {}),
    "geglu_tanh": (torch.ops.aten.gelu, torch.ops.aten.gelu_backward, {"approximate": "tanh"}),
}
"""The function of the gate, its backward pass, and their settings."""


class FeedForward(nn.Module):
    """W_down f(W_up x), or with a gate W_down (f(W_gate x) * W_up x)  (arXiv:2002.05202, eq. 6)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        bias, self.kind = config.bias == "all", config.ffn
        if config.ffn in _GATES:
            self.gate_up = nn.Linear(config.width, 2 * config.ffn_width, bias=bias)
        else:
            self.gate_up = None
            self.up = nn.Linear(config.width, config.ffn_width, bias=bias)
        self.down = nn.Linear(config.ffn_width, config.width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """`x` (B, T, C) -> (B, T, C)."""
        if self.gate_up is None:
            return self.down(_ACTIVATIONS[self.kind](self.up(x)))
        return self.down(_gated(self.gate_up(x), self.kind))


def _gated(x: Tensor, kind: str) -> Tensor:
    """f(g) * u of the halves g, u of the channels."""
    if torch.compiler.is_compiling():
        activation, _, settings = _GATES[kind]
        gate, up = x.chunk(2, dim=-1)
        return activation(gate, **settings) * up
    return _Gate.apply(x, kind)


class _Gate(torch.autograd.Function):
    """f(g) * u of the halves g, u of the channels; keeps them alone, and f(g) is found again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kind: str) -> Tensor:  # noqa: ANN401
        activation, _, settings = _GATES[kind]
        ctx.kind = kind
        ctx.save_for_backward(x)
        rows = x.reshape(-1, x.shape[-1])
        gate, up = rows.chunk(2, dim=-1)
        y = torch.empty_like(up, memory_format=torch.contiguous_format)
        for tile in tiles(rows):
            torch.mul(activation(gate[tile], **settings), up[tile], out=y[tile])
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any,  # noqa: ANN401
        dy: Tensor,
    ) -> tuple[Tensor, None]:
        activation, slope, settings = _GATES[ctx.kind]
        (x,) = ctx.saved_tensors
        rows = x.reshape(-1, x.shape[-1])
        dx, dy = torch.empty_like(rows), dy.reshape(len(rows), -1)
        (gate, up), (dgate, dup) = rows.chunk(2, dim=-1), dx.chunk(2, dim=-1)
        for tile in tiles(rows):
            torch.mul(activation(gate[tile], **settings), dy[tile], out=dup[tile])
            dgate[tile] = slope(dy[tile] * up[tile], gate[tile], **settings)
        return dx.view(x.shape), None
