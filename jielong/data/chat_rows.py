"""Conversations as padded rows of tokens with their loss mask, batch by batch."""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from jielong.core.errors import DataError
from jielong.core.seeds import generator
from jielong.data.conversations import Conversation
from jielong.tokenizer.bpe import Tokenizer
from jielong.tokenizer.chat_template import Message, Rendered, render

POOL = 8
"""How many batches are drawn together and sorted by length, so that little is padding."""


class ChatRows:
    """`rows(step)` -> (ids, counts), each (batch, longest): a pure function of the step.

    `conversation(index)` is an endless numbered source. Rows of like length share a batch.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        conversation: Callable[[int], Conversation],
        batch: int,
        longest: int,
        seed: int,
    ) -> None:
        self.tokenizer, self.conversation = tokenizer, conversation
        self.batch, self.longest, self.seed = batch, longest, seed
        self._pool = lru_cache(maxsize=2)(self._make_pool)

    def __call__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """The batch of one step: `ids` int64 and `counts` bool, padded on the right."""
        pool, place = divmod(step, POOL)
        rendered = self._pool(pool)[place]
        width = max(len(row.ids) for row in rendered)
        ids = np.full((self.batch, width), self.tokenizer.special.pad, dtype=np.int64)
        counts = np.zeros((self.batch, width), dtype=bool)
        for i, row in enumerate(rendered):
            ids[i, : len(row.ids)] = row.ids
            counts[i, : len(row.ids)] = row.loss_mask
        return ids, counts

    def _make_pool(self, pool: int) -> list[list[Rendered]]:
        first = pool * POOL * self.batch
        rows = [
            fit_turns(self.tokenizer, self.conversation(index).messages, self.longest)
            for index in range(first, first + POOL * self.batch)
        ]
        rows.sort(key=lambda row: len(row.ids))
        batches = [rows[i : i + self.batch] for i in range(0, len(rows), self.batch)]
        order = generator(self.seed, "pool", pool).permutation(len(batches))
        return [batches[i] for i in order]


def fit_turns(tokenizer: Tokenizer, messages: Sequence[Message], longest: int) -> Rendered:
    """Render a conversation; when it is too long its oldest exchanges leave, then its end is cut.

    Raises `DataError` when not even one token of an answer fits.
    """
    messages = list(messages)
    head = messages[:1] if messages[0]["role"] == "system" else []
    turns = messages[len(head) :]
    row = render(tokenizer, head + turns)
    while len(row.ids) > longest and len(turns) > 2:
        turns = turns[2:]
        row = render(tokenizer, head + turns)
    row = Rendered(row.ids[:longest], row.loss_mask[:longest])
    if not any(row.loss_mask):
        raise DataError(
            f"a conversation beginning {messages[0]['content'][:40]!r} has no answer within "
            f"{longest} tokens: shorten its question or raise the recipe's longest"
        )
    return row
