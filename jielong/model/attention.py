"""Causal self-attention with rotary positions, QK-norm and grouped queries.

Attention(Q, K, V) = softmax(Q K^T / sqrt(D)) V       (arXiv:1706.03762, eq. 1)
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from jielong.model.config import ModelConfig
from jielong.model.kv_cache import KVCache


class Rotary(nn.Module):
    """Rotary positions (arXiv:2104.09864): pair i turns by p * base^(-2i/D) at position p."""

    cos: Tensor
    sin: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        channels = torch.arange(0, config.head_dim, 2, dtype=torch.float64)
        frequencies = config.rope_base ** (-channels / config.head_dim)
        angles = torch.arange(config.context, dtype=torch.float64)[:, None] * frequencies
        angles = torch.cat([angles, angles], dim=-1)  # (T, D): each pair is (i, i + D/2)
        self.register_buffer("cos", angles.cos().float(), persistent=False)
        self.register_buffer("sin", angles.sin().float(), persistent=False)

    def forward(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines of `positions` (B, T) or (T,), shaped to broadcast over heads."""
        return self.cos[positions].unsqueeze(-3), self.sin[positions].unsqueeze(-3)


def rotate(x: Float[Tensor, "*B T D"], cos: Tensor, sin: Tensor) -> Float[Tensor, "*B T D"]:
    """Turn each channel pair of `x` (B, H, T, D) by its angle."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


class Attention(nn.Module):
    """One layer's self-attention; Q, K and V are projected by one matrix in one large product."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.layer, self.dropout = layer, config.dropout
        self.sizes = [config.n_head, config.n_kv_head, config.n_kv_head]
        self.head_dim = config.head_dim
        self.qkv = nn.Linear(config.width, sum(self.sizes) * config.head_dim, bias=False)
        self.output = nn.Linear(config.width, config.width, bias=False)
        self.query_norm = nn.RMSNorm(config.head_dim, eps=config.norm_eps)
        self.key_norm = nn.RMSNorm(config.head_dim, eps=config.norm_eps)

    def forward(
        self, x: Tensor, rotary: tuple[Tensor, Tensor], mask: Tensor | None, cache: KVCache | None
    ) -> Tensor:
        """`x` (B, T, C) -> (B, T, C). `mask` (B, 1, T, S), True where attended; None is causal."""
        batch, time, _ = x.shape
        heads = self.qkv(x).view(batch, time, -1, self.head_dim)
        q, k, v = (part.transpose(1, 2) for part in heads.split(self.sizes, dim=2))  # (B, H, T, D)
        q, k = rotate(self.query_norm(q), *rotary), rotate(self.key_norm(k), *rotary)
        if cache is not None:
            k, v = cache.append(self.layer, k, v)
        y = F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=mask is None and time > 1,
            enable_gqa=self.sizes[0] != self.sizes[1],
        )
        return self.output(y.transpose(1, 2).reshape(batch, time, -1))
