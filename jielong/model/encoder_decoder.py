"""The encoder-decoder: one model reads a whole source, another writes a target from it.

As in the first transformer (arXiv:1706.03762) and BART: both are stacks of the same blocks; those
of the decoder have a sub-layer more, in which each target position attends to the whole source.
"""

import dataclasses
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from jielong.model.attention import CrossAttention, Memory
from jielong.model.config import ModelConfig
from jielong.model.kv_cache import KVCache
from jielong.model.transformer import Transformer


class EncoderDecoder(nn.Module):
    """Two stacks of `config.n_layer` blocks that share one embedding of the vocabulary."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        both_ways = dataclasses.replace(config, bidirectional=True, tied=True)
        self.encoder = Transformer(both_ways)
        self.decoder = Transformer(config, cross=True)
        self.decoder.embedding = self.encoder.embedding
        # One matrix goes by one name: files of tensors hold none twice.
        self.register_state_dict_post_hook(_drop_second_name)
        self.register_load_state_dict_pre_hook(_add_second_name)

    def encode(
        self, source: Int[Tensor, "B S"], *, is_token: Bool[Tensor, "B S"] | None = None
    ) -> Memory:
        """What the decoder's layers attend to; `is_token` is False on padding of `source`."""
        states = self.encoder.hidden(source, is_token=is_token)
        layers = (part for part in self.decoder.modules() if isinstance(part, CrossAttention))
        pairs = [layer.remember(states) for layer in layers]
        keys, values = zip(*pairs, strict=True)
        return Memory(keys, values, None if is_token is None else is_token[:, None, None])

    def hidden(
        self,
        ids: Int[Tensor, "B T"],
        *,
        memory: Memory,
        is_token: Bool[Tensor, "B T"] | None = None,
        cache: KVCache | None = None,
    ) -> Float[Tensor, "B T C"]:
        """The decoder's final states (B, T, C), as `Transformer.hidden` gives them."""
        return self.decoder.hidden(ids, memory=memory, is_token=is_token, cache=cache)

    def logits(self, hidden: Float[Tensor, "*N C"]) -> Float[Tensor, "*N V"]:
        """Scores over the vocabulary (..., V) of states (..., C)."""
        return self.decoder.logits(hidden)

    def forward(
        self,
        source: Int[Tensor, "B S"],
        target: Int[Tensor, "B T"],
        *,
        source_is_token: Bool[Tensor, "B S"] | None = None,
        target_is_token: Bool[Tensor, "B T"] | None = None,
        select: Bool[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "*N V"]:
        """Scores (B, T, V) of what follows each position of `target`, given `source`.

        With `select` (B, T) only those positions, as (N, V).
        """
        memory = self.encode(source, is_token=source_is_token)
        hidden = self.hidden(target, memory=memory, is_token=target_is_token)
        return self.logits(hidden if select is None else hidden[select])


def _drop_second_name(
    _module: nn.Module, state: dict[str, Tensor], prefix: str, _metadata: dict[str, Any]
) -> None:
    state.pop(f"{prefix}decoder.embedding.weight", None)


def _add_second_name(_module: nn.Module, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    shared = state.get(f"{prefix}encoder.embedding.weight")
    if shared is not None:
        state.setdefault(f"{prefix}decoder.embedding.weight", shared)


def shift_right(target: Int[Tensor, "B T"], first: int) -> Int[Tensor, "B T"]:
    """What a decoder reads to predict `target`: `first`, then all but the last (ibid., fig. 1)."""
    return torch.cat([torch.full_like(target[:, :1], first), target[:, :-1]], dim=1)
