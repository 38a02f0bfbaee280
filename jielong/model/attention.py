"""Attention: of a sequence to itself, and of a decoder to what an encoder made.

Attention(Q, K, V) = softmax(Q K^T / sqrt(D)) V       (arXiv:1706.03762, eq. 1)
"""

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from jielong.model.config import ModelConfig
from jielong.model.kv_cache import KVCache
from jielong.model.norm import RMSNorm
from jielong.model.positions import rotate
from jielong.model.sparse_attention import sparse_attention
from jielong.model.visibility import Visibility


class Attention(nn.Module):
    """One layer's self-attention; Q, K and V are projected by one matrix in one large product."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.layer, self.dropout = layer, config.dropout
        self.pattern = config.pattern(layer)
        self.sizes = [config.n_head, config.n_kv_head, config.n_kv_head]
        self.head_dim = config.head_dim
        inner = config.n_head * config.head_dim
        self.qkv = nn.Linear(
            config.width, sum(self.sizes) * config.head_dim, bias=config.bias != "none"
        )
        self.output = nn.Linear(inner, config.width, bias=config.bias in ("attention", "all"))
        if config.qk_norm:
            self.query_norm = RMSNorm(config.head_dim, eps=config.norm_eps)
            self.key_norm = RMSNorm(config.head_dim, eps=config.norm_eps)
        else:
            self.query_norm, self.key_norm = nn.Identity(), nn.Identity()

    def forward(
        self,
        x: Tensor,
        rotary: tuple[Tensor, Tensor] | None,
        sight: Visibility,
        cache: KVCache | None,
    ) -> Tensor:
        """`x` (B, T, C) -> (B, T, C). `rotary` are cosines and sines, if there are any."""
        q, k, v = self.project(x, rotary)
        if cache is not None:
            k, v = cache.append(self.layer, k, v)
        return self.output(self.attend(q, k, v, sight).transpose(1, 2).flatten(2))

    def project(
        self, x: Tensor, rotary: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Q (B, H, T, D), K and V (B, Hkv, T, D) of `x` (B, T, C), normed and turned."""
        batch, time, _ = x.shape
        heads = self.qkv(x).view(batch, time, -1, self.head_dim)
        q, k, v = (part.transpose(1, 2) for part in heads.split(self.sizes, dim=2))
        q, k = self.query_norm(q), self.key_norm(k)
        return (q, k, v) if rotary is None else (rotate(q, *rotary), rotate(k, *rotary), v)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, sight: Visibility) -> Tensor:
        """What each query takes from the values it may see, (B, H, T, D)."""
        dropout = self.dropout if self.training else 0.0
        if self.pattern.kind != "dense" and sight.is_structured:
            return sparse_attention(
                q, k, v, self.pattern, documents=sight.documents, dropout_p=dropout
            )
        mask = sight.mask(self.pattern)
        return F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=mask,
            dropout_p=dropout,
            is_causal=mask is None and sight.causal and q.shape[2] > 1,
            enable_gqa=self.sizes[0] != self.sizes[1],
        )


class Memory(NamedTuple):
    """What an encoder made, as each layer of a decoder sees it."""

    keys: tuple[Tensor, ...]  # for each layer (B, Hkv, S, D)
    values: tuple[Tensor, ...]
    mask: Tensor | None  # (B, 1, 1, S), True where a source token stands

    def select(self, rows: Tensor) -> "Memory":
        """Keep `rows` (B',) of the batch, in that order."""
        return Memory(
            tuple(keys[rows] for keys in self.keys),
            tuple(values[rows] for values in self.values),
            None if self.mask is None else self.mask[rows],
        )


class CrossAttention(nn.Module):
    """Queries of a decoder over keys and values of an encoder, which know no order."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.layer, self.dropout = layer, config.dropout
        self.head_dim, self.grouped = config.head_dim, config.n_head != config.n_kv_head
        inner, bias = config.n_head * config.head_dim, config.bias != "none"
        self.query = nn.Linear(config.width, inner, bias=bias)
        self.key_value = nn.Linear(config.width, 2 * config.n_kv_head * config.head_dim, bias=bias)
        self.output = nn.Linear(inner, config.width, bias=config.bias in ("attention", "all"))

    def remember(self, encoded: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, Hkv, S, D) of an encoder's states (B, S, C)."""
        batch, time, _ = encoded.shape
        keys, values = self.key_value(encoded).view(batch, time, 2, -1, self.head_dim).unbind(2)
        return keys.transpose(1, 2), values.transpose(1, 2)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """`x` (B, T, C) -> (B, T, C)."""
        q = self.query(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
        y = F.scaled_dot_product_attention(
            q,
            memory.keys[self.layer],
            memory.values[self.layer],
            attn_mask=memory.mask,
            dropout_p=self.dropout if self.training else 0.0,
            enable_gqa=self.grouped,
        )
        return self.output(y.transpose(1, 2).flatten(2))
