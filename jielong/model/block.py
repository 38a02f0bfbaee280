"""One transformer block: attention and feed-forward, each after a norm, each added back."""

from torch import Tensor, nn
from torch.nn import functional as F

from jielong.model.attention import Attention
from jielong.model.config import ModelConfig
from jielong.model.kv_cache import KVCache


class FeedForward(nn.Module):
    """SwiGLU: W_down (silu(W_gate x) * W_up x)   (arXiv:2002.05202, eq. 6)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_up = nn.Linear(config.width, 2 * config.ffn_width, bias=False)
        self.down = nn.Linear(config.ffn_width, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`x` (B, T, C) -> (B, T, C)."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)): norms before each sub-layer."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.width, eps=config.norm_eps)
        self.attention = Attention(config, layer)
        self.feed_forward_norm = nn.RMSNorm(config.width, eps=config.norm_eps)
        self.feed_forward = FeedForward(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, x: Tensor, rotary: tuple[Tensor, Tensor], mask: Tensor | None, cache: KVCache | None
    ) -> Tensor:
        """`x` (B, T, C) -> (B, T, C); the other arguments as in `Attention`."""
        x = x + self.dropout(self.attention(self.attention_norm(x), rotary, mask, cache))
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
