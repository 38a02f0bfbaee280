"""A conversation made to fit the model's context: the oldest turns leave first, and it says so."""

from collections.abc import Sequence
from dataclasses import dataclass

from jielong.core.errors import ContextLengthError
from jielong.tokenizer.bpe import Tokenizer
from jielong.tokenizer.chat_template import Message, render


@dataclass(frozen=True)
class Fitted:
    """`ids` end where the assistant is to speak; the `dropped_turns` oldest messages left."""

    ids: list[int]
    dropped_turns: int


def fit(tokenizer: Tokenizer, messages: Sequence[Message], context: int, reserve: int) -> Fitted:
    """Render `messages`, leaving `reserve` tokens for the answer.

    While they are too long, the oldest user turn leaves together with its answer. The system
    message and the newest user turn always stay; raises `ContextLengthError` when these alone are
    too long.
    """
    messages = list(messages)
    head = messages[:1] if messages and messages[0]["role"] == "system" else []
    turns = messages[len(head) :]
    dropped = 0
    while True:
        ids = render(tokenizer, head + turns, generation_prompt=True).ids
        if len(ids) + reserve <= context:
            return Fitted(ids, dropped)
        if len(turns) <= 2:
            raise ContextLengthError(
                f"the newest message needs {len(ids)} tokens and {reserve} are kept for the answer,"
                f" but the model's context is {context}: shorten it",
                tokens=len(ids),
                context=context,
            )
        turns = turns[2:]
        dropped += 2
