import pytest

from jielong.core.errors import ContextLengthError, DataError
from jielong.generation.conversation import fit
from jielong.tokenizer.chat_template import render
from tests.tiny import tokenizer


def turns(*contents: str, system: str | None = None) -> list[dict[str, str]]:
    roles = ("user", "assistant")
    messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(contents)]
    return ([{"role": "system", "content": system}] if system is not None else []) + messages


def size(messages: list[dict[str, str]]) -> int:
    return len(render(tokenizer(), messages, generation_prompt=True).ids)


TALK = turns("一", "春风", "二", "化雨", "三", system="晴空")


def test_what_fits_is_left_alone() -> None:
    fitted = fit(tokenizer(), TALK, size(TALK) + 10, 10)
    assert fitted.ids == render(tokenizer(), TALK, generation_prompt=True).ids
    assert fitted.dropped_turns == 0


def test_the_oldest_exchange_leaves_first_and_the_system_message_stays() -> None:
    fitted = fit(tokenizer(), TALK, size(TALK) + 9, 10)
    left = TALK[:1] + TALK[3:]
    assert fitted.ids == render(tokenizer(), left, generation_prompt=True).ids
    assert fitted.dropped_turns == 2
    fitted = fit(tokenizer(), TALK, size(left) + 9, 10)
    assert fitted.ids == render(tokenizer(), [TALK[0], TALK[-1]], generation_prompt=True).ids
    assert fitted.dropped_turns == 4


def test_the_newest_turn_and_the_system_message_never_leave() -> None:
    least = size([TALK[0], TALK[-1]])
    assert fit(tokenizer(), TALK, least + 10, 10).dropped_turns == 4
    with pytest.raises(ContextLengthError, match="shorten it") as caught:
        fit(tokenizer(), TALK, least + 9, 10)
    assert (caught.value.tokens, caught.value.context) == (least, least + 9)


def test_what_is_no_conversation_is_refused() -> None:
    with pytest.raises(DataError, match="messages: empty"):
        fit(tokenizer(), [], 100, 10)
