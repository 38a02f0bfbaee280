"""A conversation as token ids, and which of them the model is taught to say.

    <bos> <system> text <user> text <assistant> text <eos> <user> text <assistant> text <eos>

Each piece is encoded on its own and its mask is written down in the same breath, so the mask never
has to be guessed from the ids afterwards. Only what the assistant says counts, its `<eos>`
included: that is how it learns to stop.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jielong.core.errors import DataError
from jielong.tokenizer.bpe import Tokenizer

ROLES = ("system", "user", "assistant")
Message = Mapping[str, str]


class Rendered(NamedTuple):
    """`ids` and `loss_mask` have one entry a token; the mask is True where the loss counts."""

    ids: list[int]
    loss_mask: list[bool]


def render(
    tokenizer: Tokenizer, messages: Sequence[Message], *, generation_prompt: bool = False
) -> Rendered:
    """The conversation as (ids, loss_mask).

    With `generation_prompt` the ids end with the token that opens an assistant's turn, ready to be
    continued. Raises `DataError` when a message is not {role, content} or its turn is out of place.
    An imported tokenizer that brings a chat template of its own lays out the conversation by that.
    """
    check(messages)
    if tokenizer.layout is not None and tokenizer.layout.template is not None:
        from jielong.tokenizer import foreign_template

        return Rendered(*foreign_template.render(tokenizer, messages, generation_prompt))
    special = tokenizer.special
    ids, mask = [special.bos], [False]
    texts = tokenizer.encode_batch([message["content"] for message in messages])
    for message, text in zip(messages, texts, strict=True):
        counts = message["role"] == "assistant"
        ids.append(special.role(message["role"]))
        mask.append(False)
        ids += text
        mask += [counts] * len(text)
        if counts:
            ids.append(special.eos)
            mask.append(True)
    if generation_prompt:
        ids.append(special.assistant)
        mask.append(False)
    return Rendered(ids, mask)


def check(messages: Sequence[Message]) -> None:
    """Refuse a list that is no conversation, naming the place."""
    if not messages:
        raise DataError("messages: empty: give at least one user message")
    previous = "system"
    for i, message in enumerate(messages):
        role, content = message.get("role"), message.get("content")
        if role not in ROLES:
            raise DataError(f"messages[{i}].role: {role!r}: choose one of {', '.join(ROLES)}")
        if not isinstance(content, str):
            raise DataError(f"messages[{i}].content: {content!r}: expected a text")
        if role == "system" and i > 0:
            raise DataError(f"messages[{i}].role: a system message must come first")
        if role != "system" and (role == "user") == (previous == "user"):
            raise DataError(
                f"messages[{i}].role: {role!r} after {previous!r}: user and assistant take turns, "
                "the user first"
            )
        previous = role
