"""OpenAI's own client against a real server whose answers are known."""

import json
from collections.abc import Iterator

import httpx
import openai
import pytest

from jielong.baselines.ngram import NgramModel
from jielong.baselines.ngram_smoothing import Smoothing
from jielong.baselines.rules import Rule, RuleTable
from jielong.baselines.seq2seq import Seq2Seq, Seq2SeqConfig
from jielong.generation.loading import Trained
from jielong.generation.readers import NgramSpeaker, RuleSpeaker
from jielong.server import openai_api
from tests import tiny
from tests.serving import NAME, serving, speaker

ANSWER = "你好，很高兴见到。Hello there!"
TOKENS = 12  # 你 好 ， 很 高 兴 见 到 。 Hello _there !
ASK = [{"role": "user", "content": "我们接龙吧"}]  # 5 tokens; with <bos> <user> <assistant> 8


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(speaker(ANSWER)) as url:
        yield url


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


def create(client: openai.OpenAI, **changes):
    return client.chat.completions.create(**{"model": NAME, "messages": ASK} | changes)


def test_models_are_listed_and_found(client: openai.OpenAI) -> None:
    (listed,) = client.models.list().data
    found = client.models.retrieve(NAME)
    assert listed == found
    assert (found.id, found.object, found.owned_by) == (NAME, "model", "jielong")
    assert found.jielong["context_length"] == 256
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("../../etc/passwd")
    assert caught.value.code == "model_not_found"


def test_an_answer_in_one_piece(client: openai.OpenAI) -> None:
    answer = create(client)
    (choice,) = answer.choices
    assert choice.message.content == ANSWER
    assert (choice.message.role, choice.finish_reason, choice.index) == ("assistant", "stop", 0)
    assert answer.usage.prompt_tokens == 8
    assert answer.usage.completion_tokens == TOKENS + 1  # and <eos>
    assert answer.usage.total_tokens == 8 + TOKENS + 1
    assert (answer.model, answer.object) == (NAME, "chat.completion")


def test_an_answer_in_a_stream(client: openai.OpenAI) -> None:
    chunks = list(create(client, stream=True, stream_options={"include_usage": True}))
    *texts, end, usage = chunks
    assert [chunk.choices[0].delta.content for chunk in texts] == [
        *"你好，很高兴见到。",
        "Hello",
        " there",
        "!",
    ]
    assert [chunk.choices[0].delta.role for chunk in texts] == ["assistant"] + [None] * 11
    assert end.choices[0].finish_reason == "stop"
    assert not end.choices[0].delta.content
    assert all(chunk.choices[0].finish_reason is None for chunk in texts)
    assert usage.choices == []
    assert usage.usage.completion_tokens == TOKENS + 1
    assert all(chunk.usage is None for chunk in [*texts, end])
    assert len({(c.id, c.created, c.model, c.system_fingerprint) for c in chunks}) == 1


def test_the_events_on_the_wire(url: str) -> None:
    body = {"model": NAME, "messages": ASK, "stream": True}
    response = httpx.post(f"{url}/v1/chat/completions", json=body)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-cache"
    *events, done, nothing = response.text.split("\n\n")
    assert (done, nothing) == ("data: [DONE]", "")
    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    assert len(chunks) == TOKENS + 1
    assert all("usage" not in chunk for chunk in chunks)


def test_max_tokens_ends_an_answer(client: openai.OpenAI) -> None:
    answer = create(client, max_completion_tokens=2, max_tokens=9)
    assert answer.choices[0].message.content == "你好"
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 2


def test_more_tokens_than_fit_are_clamped(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model=NAME, messages=ASK, max_tokens=10**9
    )
    assert raw.headers["x-jielong-clamped"] == "max_tokens=248"
    assert raw.parse().choices[0].message.content == ANSWER


@pytest.mark.parametrize("stop", ["兴见", ["nowhere", "兴见", "到"]])
def test_a_stop_string_is_cut_and_its_tokens_count(client: openai.OpenAI, stop) -> None:
    answer = create(client, stop=stop)
    assert answer.choices[0].message.content == "你好，很高"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens == 7
    streamed = create(client, stop=stop, stream=True)
    assert "".join(c.choices[0].delta.content or "" for c in streamed) == "你好，很高"


def test_system_developer_and_parts_are_read_alike(client: openai.OpenAI) -> None:
    parts = [{"type": "text", "text": "我们"}, {"type": "text", "text": "接龙吧"}]
    counts = {
        create(
            client,
            messages=[{"role": role, "content": "你好"}, {"role": "user", "content": content}],
        ).usage.prompt_tokens
        for role in ("system", "developer")
        for content in (parts, "我们接龙吧")
    }
    assert counts == {8 + 3}


def test_a_last_assistant_message_is_continued(client: openai.OpenAI) -> None:
    answer = create(client, messages=[*ASK, {"role": "assistant", "content": "你好，很"}])
    assert answer.choices[0].message.content == "高兴见到。Hello there!"
    assert answer.usage.prompt_tokens == 8 + 4


def test_special_spellings_are_ordinary_text(client: openai.OpenAI) -> None:
    typed = create(client, messages=[{"role": "user", "content": "<eos><assistant>"}])
    assert typed.usage.prompt_tokens > 3 + 2


def test_a_seed_repeats_an_answer_streamed_or_not() -> None:
    with (
        serving(tiny.assistant()) as url,
        openai.OpenAI(base_url=f"{url}/v1", api_key="none") as client,
    ):

        def text(seed: int | None, **changes) -> str:
            settings = {"seed": seed, "max_tokens": 8, "temperature": 1.5, "top_k": 200} | changes
            top_k = settings.pop("top_k")
            ask = [{"role": "user", "content": "a"}]
            answer = client.chat.completions.create(
                model="tiny", messages=ask, extra_body={"top_k": top_k}, **settings
            )
            if changes.get("stream"):
                return "".join(c.choices[0].delta.content or "" for c in answer)
            return answer.choices[0].message.content

        whole = [text(seed) for seed in range(4)]
        assert [text(seed, stream=True) for seed in range(4)] == whole
        assert len(set(whole)) == 4
        greedy = text(1, temperature=0)
        assert {text(2, top_k=1), text(3, top_p=0), text(4, temperature=1e-300)} == {greedy}


def test_too_long_is_told_before_any_header(client: openai.OpenAI) -> None:
    long = [{"role": "user", "content": "龙" * 300}]
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as caught:
            create(client, messages=long, stream=stream)
        assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "messages")
        assert "303" in str(caught.value)
        assert "256" in str(caught.value)
    with pytest.raises(openai.BadRequestError, match="at least"):
        create(client, messages=[{"role": "user", "content": "龙" * 100_000}])
    assert create(client).choices[0].message.content == ANSWER


@pytest.mark.parametrize("stream", [False, True])
def test_the_oldest_turns_may_be_dropped_when_asked(client: openai.OpenAI, stream: bool) -> None:
    pair = [{"role": "user", "content": "龙" * 97}, {"role": "assistant", "content": "好"}]
    system = [{"role": "system", "content": "接龙"}]
    # <bos>, 3 for the system, 101 for a pair, 7 for the question: 64 stay free for the answer.
    messages = [*system, *pair * 3, *ASK]
    with pytest.raises(openai.BadRequestError, match="context"):
        create(client, messages=messages)
    extra = {"context_overflow": "drop_oldest"}
    answer = create(client, messages=messages, stream=stream, extra_body=extra)
    if stream:
        first, *others = answer
        assert first.jielong == {"dropped_messages": 4}
        assert not any(hasattr(chunk, "jielong") for chunk in others)
    else:
        assert answer.jielong == {"dropped_messages": 4}
        assert answer.usage.prompt_tokens == 1 + 3 + 101 + 7
    answer = create(client, messages=[*system, *ASK], extra_body=extra)
    assert answer.jielong == {"dropped_messages": 0}


def test_thousands_of_old_turns_are_dropped_at_once(client: openai.OpenAI) -> None:
    pair = [{"role": "user", "content": "龙" * 200}, {"role": "assistant", "content": ""}]
    answer = create(
        client, messages=[*pair * 2000, *ASK], extra_body={"context_overflow": "drop_oldest"}
    )
    assert answer.jielong == {"dropped_messages": 4000}


@pytest.mark.parametrize("count", [250, 100_000])
def test_the_newest_turn_alone_may_be_too_long(client: openai.OpenAI, count: int) -> None:
    newest = {"role": "user", "content": "龙" * count}
    messages = [*ASK, {"role": "assistant", "content": "好"}, newest]
    with pytest.raises(openai.BadRequestError) as caught:
        create(client, messages=messages, extra_body={"context_overflow": "drop_oldest"})
    assert caught.value.code == "context_length_exceeded"


def test_what_is_ignored_is_named(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model=NAME,
        messages=ASK,
        user="me",
        metadata={"a": "b"},
        tools=[],
        extra_body={"what is this": 1, "unknown": 2, "nothing": None, "evil\r\nx: y": 3},
    )
    assert raw.headers["x-jielong-ignored"] == "metadata, unknown, user"


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"n": 2}, "n"),
        ({"n": True}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"presence_penalty": False}, "presence_penalty"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"min_p": 0.1}, "min_p"),
        ({"temperature": 2.01}, "temperature"),
        ({"temperature": "0.5"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"top_k": 1.0}, "top_k"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"seed": 2**63}, "seed"),
        ({"stop": ""}, "stop"),
        ({"stop": ["a"] * 17}, "stop"),
        ({"stop": ["a", 1]}, "stop[1]"),
        ({"stop": 1}, "stop"),
        ({"stream": "true"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        (
            {"stream": True, "stream_options": {"include_usage": 1}},
            "stream_options.include_usage",
        ),
        ({"context_overflow": "maybe"}, "context_overflow"),
        ({"continue_final_message": True}, "continue_final_message"),
        ({"model": None}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "messages[0].content[0].type",
        ),
        ({"messages": [*ASK, *ASK]}, "messages[1].role"),
        ({"messages": [*ASK, {"role": "system", "content": ""}]}, "messages[1].role"),
        (
            {"messages": [*ASK, {"role": "assistant", "content": "", "tool_calls": [{}]}]},
            "messages[1].tool_calls",
        ),
    ],
    ids=str,
)
def test_a_wrong_field_is_named(url: str, changes: dict, param: str) -> None:
    body = {"model": NAME, "messages": ASK, "max_tokens": 1}
    response = httpx.post(f"{url}/v1/chat/completions", json=body | changes)
    error = response.json()["error"]
    assert response.status_code == 400
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert error["message"].startswith(param)
    assert "\n" not in error["message"]
    assert httpx.post(f"{url}/v1/chat/completions", json=body).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1]",
        b"\xff",
        b'\xef\xbb\xbf{"model": "speaker"}',
        b'{"model": "\\ud800", "messages": []}',
        b"[" * 100_000,
        b'{"model": "speaker", "messages": [{"role": "user", "content": "a"}], "top_p": NaN}',
        b'{"model": "speaker", "messages": [{"role": "user", "content": "a"}], "top_p": 1e999}',
        b'{"model": "speaker", "messages": [{"role": "user", "content": "a"}], "seed": '
        + b"9" * 5000
        + b"}",
    ],
    ids=range(10),
)
def test_a_body_that_is_no_request(url: str, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    response = httpx.post(f"{url}/v1/chat/completions", content=body, headers=headers)
    assert response.status_code == 400
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}
    assert len(response.content) < 1000
    assert httpx.get(f"{url}/health").json() == {"status": "ok"}


def other(kind: str) -> Trained:
    """A speaker that is no transformer."""
    tokenizer = tiny.tokenizer()
    size = tokenizer.vocab_size
    if kind == "rules":
        table = RuleTable(rules=(Rule(pattern="hi", reply=("Hi there!",)),))
        return Trained(NAME, RuleSpeaker(table, tokenizer), tokenizer)
    if kind == "ngram":  # which has never seen an end
        unigram = NgramModel.fit([40], 1, size, smoothing=Smoothing(kind="add-k", k=0.01))
        return Trained(NAME, NgramSpeaker(unigram), tokenizer)
    shape = Seq2SeqConfig(vocab_size=size, context=32, width=12, attention=True)
    return Trained(NAME, Seq2Seq(shape).eval(), tokenizer)


@pytest.mark.parametrize("stream", [False, True])
def test_what_a_model_cannot_answer_is_the_requests_fault(stream: bool) -> None:
    """An empty sentence to translate; a beginning that the rules' answer does not have."""
    ask = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "No"}]
    for kind, messages, told in (
        ("seq2seq", [{"role": "user", "content": ""}], "prompt: empty: give a sentence"),
        ("rules", ask, "messages: the answer's beginning 'No': the rules say 'Hi there!'"),
    ):
        body = {"model": NAME, "messages": messages, "stream": stream}
        with serving(other(kind)) as url:
            response = httpx.post(f"{url}/v1/chat/completions", json=body)
            assert response.status_code == 400
            error = response.json()["error"]
            assert error["message"].startswith(told)
            assert (error["type"], error["param"]) == ("invalid_request_error", "messages")
            body["messages"] = [{"role": "user", "content": "hi"}]
            assert httpx.post(f"{url}/v1/chat/completions", json=body).status_code == 200


def test_rules_go_on_with_an_answer_that_is_begun() -> None:
    ask = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Hi th"}]
    with serving(other("rules")) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="n") as client:
        assert create(client, messages=ask).choices[0].message.content == "ere!"


def test_a_model_without_a_context_comes_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    assert openai_api._ENDLESS <= 10_000
    monkeypatch.setattr(openai_api, "_ENDLESS", 20)
    with serving(other("ngram")) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="n") as client:
        answer = create(client, temperature=0)
        assert (answer.usage.completion_tokens, answer.choices[0].finish_reason) == (20, "length")
        raw = client.chat.completions.with_raw_response.create(
            model=NAME, messages=ASK, max_tokens=500_000, temperature=0
        )
        assert raw.headers["x-jielong-clamped"] == "max_tokens=20"
