import pytest

from jielong.core.errors import DataError
from jielong.tokenizer.chat_template import render
from tests.tiny import tokenizer

BOS, EOS, SYSTEM, USER, ASSISTANT = 1, 2, 3, 4, 5


def message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def test_a_conversation_by_hand() -> None:
    text = tokenizer().encode
    messages = [
        message("system", "春风"),
        message("user", "雨"),
        message("assistant", "雨过天晴"),
        message("user", "a"),
        message("assistant", "b"),
    ]
    pieces = [
        ([BOS, SYSTEM, *text("春风"), USER, *text("雨"), ASSISTANT], False),
        ([*text("雨过天晴"), EOS], True),
        ([USER, *text("a"), ASSISTANT], False),
        ([*text("b"), EOS], True),
    ]
    rendered = render(tokenizer(), messages)
    assert rendered.ids == [i for ids, _ in pieces for i in ids]
    assert rendered.loss_mask == [counts for ids, counts in pieces for _ in ids]


def test_a_generation_prompt_opens_the_assistants_turn() -> None:
    asked = [message("user", "雨")]
    plain, open_ended = (
        render(tokenizer(), asked, generation_prompt=prompt) for prompt in (False, True)
    )
    assert open_ended.ids == [*plain.ids, ASSISTANT]
    assert open_ended.loss_mask == [False] * len(open_ended.ids)


def test_what_was_generated_continues_what_was_trained() -> None:
    """Prompt and answer, joined as ids, are the ids that training sees."""
    asked, answer = [message("user", "雨后")], message("assistant", " 晴天 <eos>")
    prompt = render(tokenizer(), asked, generation_prompt=True).ids
    assert [*prompt, *tokenizer().encode(" 晴天 <eos>"), EOS] == render(
        tokenizer(), [*asked, answer]
    ).ids


@pytest.mark.parametrize(
    ("messages", "error"),
    [
        ([], "messages: empty"),
        ([message("robot", "x")], r"messages\[0\].role: 'robot': choose one of system, user"),
        ([{"content": "x"}], r"messages\[0\].role: None"),
        ([message("assistant", "x")], r"messages\[0\].role: 'assistant' after 'system'"),
        ([message("user", "x")] * 2, r"messages\[1\].role: 'user' after 'user'"),
        (
            [message("user", "x"), message("assistant", "y"), message("assistant", "z")],
            r"messages\[2\].role: 'assistant' after 'assistant'",
        ),
        (
            [message("user", "x"), message("system", "y")],
            r"messages\[1\].role: a system message must come first",
        ),
        ([{"role": "user"}], r"messages\[0\].content: None: expected a text"),
    ],
)
def test_what_is_no_conversation_is_refused(messages: list, error: str) -> None:
    with pytest.raises(DataError, match=error):
        render(tokenizer(), messages)
