"""Prompts and what follows them, a token at a time. The engine and beam search build on this."""

from collections.abc import Sequence

import torch
from torch import Tensor

from jielong.core.errors import ContextLengthError
from jielong.generation.readers import Speaker, context_of, open_reader, writes_apart
from jielong.tokenizer.special_tokens import SpecialTokens


class Continuation:
    """Rows that grow. `scores` (B, V) are of each row's next token; `room` (B,) is how many tokens
    each may get, whoever is beside it.

    Raises `ContextLengthError` when a prompt leaves no room for an answer.
    """

    def __init__(
        self,
        model: Speaker,
        prompts: Sequence[Sequence[int]],
        most: int,
        special: SpecialTokens,
    ) -> None:
        context, sizes = context_of(model), [len(prompt) for prompt in prompts]
        _check_room(max(sizes), context)
        if writes_apart(model):
            sizes = [1] * len(prompts)
        room = torch.tensor([context - size for size in sizes]).clamp(max=most)
        self._reader = open_reader(model, len(prompts), max(sizes) + int(room.max()), special)
        self.scores = self._reader.read(*_left_pad(prompts))
        self.room = room.to(self.scores.device)

    def extend(self, tokens: Tensor) -> None:
        """Append `tokens` (B,), one to each row."""
        self.scores = self._reader.read(tokens[:, None])

    def select(self, rows: Tensor) -> None:
        """Keep `rows` (B',), in that order: finished rows leave, beams fork."""
        self._reader.select(rows)
        self.scores, self.room = self.scores[rows], self.room[rows]


def _check_room(longest: int, context: int) -> None:
    if longest >= context:
        raise ContextLengthError(
            f"the prompt has {longest} tokens and the model's context is {context}: shorten it",
            tokens=longest,
            context=context,
        )


def _left_pad(prompts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    length = max(len(prompt) for prompt in prompts)
    # 0 is a row of every embedding; the id of <pad> is none of a model whose makers had no padding.
    ids = torch.zeros(len(prompts), length, dtype=torch.int64)
    is_token = torch.zeros(len(prompts), length, dtype=torch.bool)
    for row, prompt in enumerate(prompts):
        ids[row, length - len(prompt) :] = torch.tensor(prompt)
        is_token[row, length - len(prompt) :] = True
    return ids, is_token
