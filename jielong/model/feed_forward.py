"""The feed-forward sub-layer: each position by itself, out to more channels and back."""

from torch import Tensor, nn
from torch.nn import functional as F

from jielong.model.config import ModelConfig


def _gelu_tanh(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


_ACTIVATIONS = {
    "swiglu": F.silu,
    "geglu": F.gelu,
    "geglu_tanh": _gelu_tanh,
    "gelu": F.gelu,  # arXiv:1606.08415; by tanh in GPT-2's code
    "gelu_tanh": _gelu_tanh,
    "relu": F.relu,
    "relu2": lambda x: F.relu(x).square(),  # arXiv:2109.08668
}


class FeedForward(nn.Module):
    """W_down f(W_up x), or with a gate W_down (f(W_gate x) * W_up x)  (arXiv:2002.05202, eq. 6)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        bias, self.activation = config.bias == "all", _ACTIVATIONS[config.ffn]
        if config.ffn in ("swiglu", "geglu", "geglu_tanh"):
            self.gate_up = nn.Linear(config.width, 2 * config.ffn_width, bias=bias)
        else:
            self.gate_up = None
            self.up = nn.Linear(config.width, config.ffn_width, bias=bias)
        self.down = nn.Linear(config.ffn_width, config.width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """`x` (B, T, C) -> (B, T, C)."""
        if self.gate_up is None:
            return self.down(self.activation(self.up(x)))
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(self.activation(gate) * up)
