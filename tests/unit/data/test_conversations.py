import json
from functools import cache

import pytest

from jielong.core.errors import ConfigError, DataError
from jielong.data import conversations
from jielong.data.conversations import Mixture, mixture
from jielong.data.lexicon import Lexicon

WEIGHTS = {"greeting": 1.0, "recall": 2.0, "talks": 1.0}


def made(weights=None, **kwargs) -> Mixture:
    return mixture(Lexicon(), "train", weights or WEIGHTS, 0, **kwargs)


def test_a_conversation_depends_on_seed_and_number_alone() -> None:
    first, second = made(), made()
    backwards = [second.conversation(i) for i in reversed(range(50))][::-1]
    assert [first.conversation(i) for i in range(50)] == backwards
    other = mixture(Lexicon(), "train", WEIGHTS, 1)
    assert [other.conversation(i) for i in range(50)] != backwards


def test_iterating_counts_from_zero() -> None:
    source = made()
    assert next(iter(source)) == source.conversation(0)


def test_turns_alternate_and_end_with_the_assistant() -> None:
    for i in range(200):
        roles = [message["role"] for message in made_once().conversation(i).messages]
        assert roles == ["user", "assistant"] * (len(roles) // 2)


@cache
def made_once() -> Mixture:
    return made()


def test_exchanges_come_in_the_shares_asked_for() -> None:
    """4,000 conversations of one exchange, shares 1 : 2 : 1 within four standard errors."""
    source = made(parts=1)
    drawn = [source.conversation(i).families for i in range(4000)]
    assert {len(families) for families in drawn} == {1}
    shares = {name: sum(f == (name,) for f in drawn) / 4000 for name in WEIGHTS}
    assert shares == pytest.approx({"greeting": 0.25, "recall": 0.5, "talks": 0.25}, abs=0.032)


def test_a_long_conversation_gets_no_further_exchange() -> None:
    for i in range(300):
        conversation = made_once().conversation(i)
        assert len(conversation.families) <= 4
        if len(conversation.families) > 1:
            last = max(len(m["content"]) for m in conversation.messages)
            assert sum(len(m["content"]) for m in conversation.messages) < 60 + 8 * last


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        ({"greting": 1.0}, ConfigError, "families.greting: no such task family: choose among"),
        ({"greeting": -1.0}, ConfigError, "families.greeting: -1.0 is negative"),
        ({"greeting": 0.0}, ConfigError, "families: empty"),
        ({"idiom_chain": 1.0}, DataError, "idiom_chain: the lexicon gives it no train item"),
    ],
)
def test_weights_that_make_no_sense_are_refused(weights, error, message: str) -> None:
    with pytest.raises(error, match=message):
        made(weights)


def test_own_conversations_in_both_forms(tmp_path) -> None:
    path = tmp_path / "own.jsonl"
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "你好"},
        {"role": "assistant", "content": "好。"},
    ]
    lines = [{"messages": turns}, {"prompt": "1+1?", "completion": "2"}]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    first, second = conversations.read_jsonl(path)
    assert first.messages == tuple(turns)
    assert [m["content"] for m in second.messages] == ["1+1?", "2"]
    assert first.families == ("own",)


def talk(*turns: tuple[str, str]) -> dict:
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nonsense", "not JSON"),
        ("[]", "list: expected an object"),
        ("{}", "has nothing: give messages, or prompt and completion"),
        ({"prompt": "a"}, "has prompt: give messages, or prompt and completion"),
        ({"prompt": "a", "completion": "b", "id": 1}, "has completion, id, prompt: give"),
        ({"prompt": "a", "completion": ""}, "messages[1].content: expected text that is not empty"),
        ({"prompt": 3, "completion": "b"}, "messages[0].content: expected text"),
        ({"messages": []}, "messages: expected a list with at least one message"),
        ({"messages": ["a"]}, "messages[0]: expected an object with role and content"),
        (talk(("user", "a")), "ends with 'user': end with an assistant message"),
        (talk(("assistant", "a")), "messages[0].role: 'assistant' where 'user' is due"),
        (talk(("user", "a"), ("user", "b")), "messages[1].role: 'user' where 'assistant' is due"),
        (talk(("system", "a")), "ends with 'system'"),
    ],
)
def test_a_bad_line_is_named_with_its_place(line, message: str, tmp_path) -> None:
    path = tmp_path / "own.jsonl"
    text = line if isinstance(line, str) else json.dumps(line)
    path.write_text(f'{{"prompt": "a", "completion": "b"}}\n{text}\n', encoding="utf-8")
    with pytest.raises(DataError) as error:
        conversations.read_jsonl(path)
    assert str(error.value).startswith(f"{path}:2: {message}")


def test_an_empty_file_is_refused(tmp_path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text("\n", encoding="utf-8")
    with pytest.raises(DataError, match="empty: write one conversation a line"):
        conversations.read_jsonl(path)
