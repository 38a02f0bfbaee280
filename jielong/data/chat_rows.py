"""Conversations as rows of tokens with their loss mask, batch by batch.

A conversation longer than a row is split where the user takes the turn. A row holds one such piece
or, packed, as many as fit; pieces in one row do not see each other.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from jielong.core.errors import DataError
from jielong.core.seeds import generator
from jielong.data.conversations import Conversation
from jielong.data.packing import pack
from jielong.tokenizer.bpe import Tokenizer
from jielong.tokenizer.chat_template import Message, Rendered, render

POOL = 8
"""How many batches are drawn together and sorted by length, so that little is padding."""


class Rows(NamedTuple):
    """Rows padded on the right, each array (rows, width): `ids` int64 and `counts` bool.

    `documents` int64 numbers the pieces of a packed row from 1, padding is 0; None when each row
    is one piece.
    """

    ids: np.ndarray
    counts: np.ndarray
    documents: np.ndarray | None


class ChatRows:
    """`rows(step)` is what one step learns from: a pure function of the step.

    `conversation(index)` is an endless numbered source, and a step takes `batch` of them. Unpacked,
    they are drawn for several steps together and those of like length share a batch.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        conversation: Callable[[int], Conversation],
        batch: int,
        longest: int,
        seed: int,
        packed: bool = False,
    ) -> None:
        self.tokenizer, self.conversation = tokenizer, conversation
        self.batch, self.longest, self.seed, self.packed = batch, longest, seed, packed
        self._pool = lru_cache(maxsize=2)(self._make_pool)

    def __call__(self, step: int) -> list[Rows]:
        """The step's micro-batches, of at most `batch` rows each.

        There is one, unless long conversations became more pieces than fit in it. Raises
        `DataError` naming a conversation that has no answer within `longest` tokens.
        """
        rows = self._packed(step) if self.packed else self._pool(step // POOL)[step % POOL]
        return [self._padded(rows[i : i + self.batch]) for i in range(0, len(rows), self.batch)]

    def _packed(self, step: int) -> list[list[Rendered]]:
        pieces = self._pieces(range(step * self.batch, (step + 1) * self.batch))
        rows = pack([len(piece.ids) for piece in pieces], self.longest)
        return [[pieces[place] for place in row] for row in rows]

    def _make_pool(self, pool: int) -> list[list[list[Rendered]]]:
        first = pool * POOL * self.batch
        pieces = self._pieces(range(first, first + POOL * self.batch))
        pieces.sort(key=lambda piece: len(piece.ids))
        ends = [len(pieces) * place // POOL for place in range(POOL + 1)]
        batches = [[[piece] for piece in pieces[a:b]] for a, b in itertools.pairwise(ends)]
        order = generator(self.seed, "pool", pool).permutation(len(batches))
        return [batches[i] for i in order]

    def _pieces(self, indices: Iterable[int]) -> list[Rendered]:
        found = []
        for index in indices:
            conversation = self.conversation(index)
            pieces = split_turns(self.tokenizer, conversation.messages, self.longest).pieces
            if not pieces:
                raise _no_answer([conversation], self.longest)
            found += pieces
        return found

    def _padded(self, rows: list[list[Rendered]]) -> Rows:
        shape = (len(rows), max(sum(len(piece.ids) for piece in row) for row in rows))
        ids = np.full(shape, self.tokenizer.special.pad, dtype=np.int64)
        counts = np.zeros(shape, dtype=bool)
        documents = np.zeros(shape, dtype=np.int64)
        for i, row in enumerate(rows):
            start = 0
            for number, piece in enumerate(row, 1):
                place = slice(start, start + len(piece.ids))
                ids[i, place], counts[i, place] = piece
                documents[i, place] = number
                start = place.stop
        return Rows(ids, counts, documents if self.packed else None)


class Split(NamedTuple):
    """The `pieces` of a conversation, each no longer than a row and with something that counts.

    `cut` of its exchanges are longer than a row by themselves and lost their end; with `lost` of
    those nothing of the answer was left, and they are in no piece.
    """

    pieces: list[Rendered]
    cut: int = 0
    lost: int = 0


def split_turns(tokenizer: Tokenizer, messages: Sequence[Message], longest: int) -> Split:
    """Render a conversation in pieces of whole exchanges, as few as rows of `longest` allow.

    Each piece begins with the system message, if there is one, and a turn of the user.
    """
    whole = render(tokenizer, messages)
    if len(whole.ids) <= longest:
        return Split([whole])
    head = [message for message in messages[:1] if message["role"] == "system"]
    start = len(render(tokenizer, head).ids) if head else 1
    groups: list[list[Message]] = []
    room = 0
    for i in range(len(head), len(messages), 2):
        exchange = messages[i : i + 2]
        size = len(render(tokenizer, exchange).ids) - 1  # <bos> stands before the first alone
        if not groups or size > room:
            groups.append([*head])
            room = longest - start
        groups[-1] += exchange
        room -= size
    rendered = [render(tokenizer, group) for group in groups]
    pieces = [Rendered(row.ids[:longest], row.loss_mask[:longest]) for row in rendered]
    kept = [piece for piece in pieces if any(piece.loss_mask)]
    cut = sum(len(row.ids) > longest for row in rendered)
    return Split(kept, cut, len(pieces) - len(kept))


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Of all conversations: how many exchanges lost their end, how many of those their whole
    answer, and in which conversations."""

    exchanges: int
    answers: int
    places: tuple[str, ...]

    def describe(self, longest: int) -> str:
        """One line for a person."""
        return (
            f"{_listed(self.places)}: exchanges longer than {longest} tokens, whose end is cut: "
            f"{self.exchanges}, with no answer left: {self.answers}; raise longest, or shorten them"
        )


def survey(tokenizer: Tokenizer, conversations: Iterable[Conversation], longest: int) -> Cut:
    """What rows of `longest` tokens will not teach of these conversations.

    Raises `DataError` naming the conversations of which nothing would be left: a batch of them
    would have no target.
    """
    exchanges = answers = 0
    places, empty = [], []
    for conversation in conversations:
        if _surely_fits(conversation, longest):
            continue
        split = split_turns(tokenizer, conversation.messages, longest)
        if not split.pieces:
            empty.append(conversation)
        if split.cut:
            places.append(_place(conversation))
        exchanges += split.cut
        answers += split.lost
    if empty:
        raise _no_answer(empty, longest)
    return Cut(exchanges=exchanges, answers=answers, places=tuple(places))


def _surely_fits(conversation: Conversation, longest: int) -> bool:
    """Whether its bytes tell, as they do of most: no token stands for less than one of them."""
    messages = conversation.messages
    return 1 + sum(len(message["content"].encode()) + 2 for message in messages) <= longest


def _no_answer(conversations: Sequence[Conversation], longest: int) -> DataError:
    return DataError(
        f"{_listed([_place(c) for c in conversations])}: no answer within {longest} tokens, so "
        "nothing to learn: shorten the question, or raise the recipe's longest (the model's "
        "context is its limit)"
    )


def _place(conversation: Conversation) -> str:
    beginning = conversation.messages[0]["content"][:40]
    return conversation.place or f"{'+'.join(conversation.families)}: {beginning!r}"


def _listed(places: Sequence[str]) -> str:
    more = len(places) - 3
    return ", ".join(places[:3]) + (f" and {more} more" if more > 0 else "")
