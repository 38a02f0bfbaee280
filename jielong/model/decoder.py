"""The left-to-right transformer (GPT): p(w_i | w_1 .. w_{i-1}) for every position at once."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from jielong.model.attention import Rotary
from jielong.model.block import Block
from jielong.model.config import ModelConfig
from jielong.model.kv_cache import KVCache


class Decoder(nn.Module):
    """Embedding, blocks, final norm, scores over the vocabulary.

    Matrices start as N(0, 1/fan_in); the two that write into the residual stream start at zero, so
    each block begins as the identity and depth costs nothing at first. The embedding starts as
    N(0, 1/width): the scores that a tied model reads with it are then of order one.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.rotary = Rotary(config)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.n_layer))
        self.norm = nn.RMSNorm(config.width, eps=config.norm_eps)
        self.head = None if config.tied else nn.Linear(config.width, config.vocab_size, bias=False)
        self.apply(_initialise)
        for name, parameter in self.named_parameters():
            if name.endswith(("attention.output.weight", "feed_forward.down.weight")):
                nn.init.zeros_(parameter)

    def hidden(
        self,
        ids: Int[Tensor, "B T"],
        *,
        is_token: Bool[Tensor, "B T"] | None = None,
        documents: Int[Tensor, "B T"] | None = None,
        cache: KVCache | None = None,
    ) -> Float[Tensor, "B T C"]:
        """The final normed states (B, T, C) of `ids` (B, T).

        `is_token` (B, T) is False on padding (left or right), which then changes nothing: positions
        count tokens only, and padding is never attended to. With a `cache` the ids continue what
        it holds, and it is extended. Or else `documents` (B, T) numbers the texts that share a row,
        and none sees another. Their positions run on along the row: rotary attention knows only how
        far apart two tokens are.
        """
        rotary, mask = self._positions(ids, is_token, documents, cache)
        x = self.dropout(self.embedding(ids))
        for block in self.blocks:
            x = block(x, rotary, mask, cache)
        if cache is not None:
            cache.length += ids.shape[1]
        return self.norm(x)

    def logits(self, hidden: Float[Tensor, "*N C"]) -> Float[Tensor, "*N V"]:
        """Scores over the vocabulary (..., V) of states (..., C)."""
        weight = self.embedding.weight if self.head is None else self.head.weight
        return F.linear(hidden, weight)

    def forward(
        self,
        ids: Int[Tensor, "B T"],
        *,
        is_token: Bool[Tensor, "B T"] | None = None,
        documents: Int[Tensor, "B T"] | None = None,
        select: Bool[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "*N V"]:
        """Scores (B, T, V) of what follows each position; `is_token`, `documents` as in `hidden`.

        With `select` (B, T) only those positions are scored, as (N, V) in reading order: the
        vocabulary is the largest product of a small model, so positions without a target skip it.
        """
        hidden = self.hidden(ids, is_token=is_token, documents=documents)
        return self.logits(hidden if select is None else hidden[select])

    def _positions(
        self,
        ids: Tensor,
        is_token: Tensor | None,
        documents: Tensor | None,
        cache: KVCache | None,
    ) -> tuple[tuple[Tensor, Tensor], Tensor | None]:
        """Rotary angles and attention mask; None is the plain causal mask, which kernels know."""
        time = ids.shape[1]
        start = cache.length if cache is not None else 0
        if is_token is None and cache is None:
            mask = None if documents is None else _within(documents)
            return self.rotary(torch.arange(time, device=ids.device)), mask
        assert documents is None
        if is_token is None:
            is_token = torch.ones_like(ids, dtype=torch.bool)
        if cache is not None:
            cache.is_token[:, start : start + time] = is_token
            is_token = cache.is_token[:, : start + time]
        positions = (is_token.cumsum(dim=1) - 1).clamp(min=0)[:, start:]
        places = torch.arange(start + time, device=ids.device)
        now = places[start:, None]
        # A padding row attends to itself alone: softmax over nothing would be NaN.
        mask = ((places < now) & is_token[:, None, :]) | (places == now)
        return self.rotary(positions), mask[:, None]


def _within(documents: Tensor) -> Tensor:
    """The causal mask (B, 1, T, T) of rows whose texts, numbered by `documents`, stay apart."""
    places = torch.arange(documents.shape[1], device=documents.device)
    same = documents[:, :, None] == documents[:, None, :]
    return (same & (places <= places[:, None]))[:, None]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=module.in_features**-0.5)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)
