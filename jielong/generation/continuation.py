"""Prompts and what follows them, a token at a time: the one place that knows how a model reads.

A causal model reads a prompt as it reads all text; a prefix model reads it both ways at once; of an
encoder-decoder the prompt, ended by `<eos>`, is the source, and the answer begins with `<bos>`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from jielong.core.errors import ContextLengthError
from jielong.model.encoder_decoder import EncoderDecoder
from jielong.model.kv_cache import KVCache
from jielong.model.transformer import Transformer
from jielong.tokenizer.special_tokens import SpecialTokens


class Continuation:
    """Rows on one cache. `room` (B,) is how many tokens each may get, whoever is beside it.

    Raises `ContextLengthError` when a prompt leaves no room for an answer.
    """

    def __init__(
        self,
        model: Transformer | EncoderDecoder,
        prompts: Sequence[Sequence[int]],
        most: int,
        special: SpecialTokens,
    ) -> None:
        self.model = model
        self._memory = None
        device = next(model.parameters()).device
        context, sizes = model.config.context, [len(prompt) for prompt in prompts]
        _check_room(max(sizes), context)
        if isinstance(model, EncoderDecoder):
            prompts = [[*prompt, special.eos] for prompt in prompts]
        ids, is_token = (rows.to(device) for rows in _left_pad(prompts, special.pad))
        if isinstance(model, EncoderDecoder):
            self._memory = model.encode(ids, is_token=is_token)
            ids, is_token = torch.full_like(ids[:, :1], special.bos), None
            sizes = [1] * len(sizes)
        self.room = torch.tensor([context - size for size in sizes], device=device).clamp(max=most)
        self._cache = KVCache(model.config, len(ids), max(sizes) + int(self.room.max()), device)
        prefix = torch.tensor(sizes, device=device) if model.config.objective == "prefix" else None
        self._states = self._read(ids, is_token, prefix)

    def scores(self) -> Tensor:
        """The scores (B, V) of each row's next token."""
        return self.model.logits(self._states)

    def extend(self, tokens: Tensor) -> None:
        """Append `tokens` (B,), one to each row."""
        self._states = self._read(tokens[:, None])

    def select(self, rows: Tensor) -> None:
        """Keep `rows` (B',), in that order: finished rows leave, beams fork."""
        self._cache.select(rows)
        self.room = self.room[rows]
        if self._memory is not None:
            self._memory = self._memory.select(rows)

    def _read(
        self, ids: Tensor, is_token: Tensor | None = None, prefix: Tensor | None = None
    ) -> Tensor:
        """The states (B, C) at the last of `ids` (B, T)."""
        if isinstance(self.model, EncoderDecoder):
            assert self._memory is not None
            states = self.model.hidden(ids, memory=self._memory, cache=self._cache)
        else:
            states = self.model.hidden(ids, is_token=is_token, prefix=prefix, cache=self._cache)
        return states[:, -1]


def _check_room(longest: int, context: int) -> None:
    if longest >= context:
        raise ContextLengthError(
            f"the prompt has {longest} tokens and the model's context is {context}: shorten it",
            tokens=longest,
            context=context,
        )


def _left_pad(prompts: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    length = max(len(prompt) for prompt in prompts)
    ids = torch.full((len(prompts), length), pad)
    is_token = torch.zeros(len(prompts), length, dtype=torch.bool)
    for row, prompt in enumerate(prompts):
        ids[row, length - len(prompt) :] = torch.tensor(prompt)
        is_token[row, length - len(prompt) :] = True
    return ids, is_token
