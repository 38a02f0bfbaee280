"""For any text at all: what goes in comes out, and no text can speak in special tokens."""

from hypothesis import given
from hypothesis import strategies as st

from jielong.tokenizer.bpe import StreamDecoder
from jielong.tokenizer.chat_template import render
from jielong.tokenizer.special_tokens import SPECIAL, SPELLINGS
from tests.tiny import TEXTS, tokenizer

characters = st.characters(exclude_categories=["Cs"])
words = st.sampled_from([*SPELLINGS, *TEXTS, "<eo", "s>", "\r\n", "  ", "🧑‍🚀", "à", "〇々"])
texts = st.text(characters) | st.lists(words | st.text(characters, max_size=3)).map("".join)


@given(texts)
def test_decode_of_encode_is_the_text(text: str) -> None:
    ids = tokenizer().encode(text)
    assert tokenizer().decode(ids) == text
    assert tokenizer().decode_bytes(ids) == text.encode()


@given(texts)
def test_no_text_yields_a_special_token(text: str) -> None:
    assert all(i > max(SPECIAL) for i in tokenizer().encode(text))


@given(st.lists(texts, max_size=4))
def test_a_batch_is_its_texts_one_by_one(batch: list[str]) -> None:
    assert tokenizer().encode_batch(batch) == [tokenizer().encode(text) for text in batch]


@given(st.lists(st.integers(0, 299), max_size=40))
def test_streamed_text_joined_is_the_text(ids: list[int]) -> None:
    decoder = StreamDecoder(tokenizer())
    pieces = [decoder.push(i) for i in ids]
    assert "".join(pieces) + decoder.finish() == tokenizer().decode(ids)


@given(texts)
def test_streamed_text_never_shows_half_a_character(text: str) -> None:
    decoder = StreamDecoder(tokenizer())
    shown = "".join(decoder.push(i) for i in tokenizer().encode(text))
    assert shown == text
    assert decoder.finish() == ""


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, str]]:
    roles = ["system"] * draw(st.booleans()) + ["user", "assistant"] * draw(st.integers(1, 3))
    roles += ["user"] * draw(st.booleans())
    return [{"role": role, "content": draw(texts)} for role in roles]


@given(conversations(), st.booleans())
def test_the_mask_is_the_assistants_tokens_and_their_eos(
    messages: list[dict[str, str]], prompt: bool
) -> None:
    """Read back from the ids alone: turns open with a role token, which no text contains."""
    ids, mask = render(tokenizer(), messages, generation_prompt=prompt)
    assert len(ids) == len(mask)
    assert ids[0] == SPECIAL.bos
    turns, speaker, expected = [], None, []
    for token in ids:
        speaks = speaker == "assistant" and token not in SPECIAL[3:]
        expected.append(speaks)
        if token in SPECIAL[3:]:
            speaker = SPECIAL._fields[token]
            turns.append((speaker, []))
        elif token == SPECIAL.eos:
            speaker = None
        elif turns:
            turns[-1][1].append(token)
    assert mask == expected
    said = [{"role": role, "content": tokenizer().decode(text)} for role, text in turns]
    assert said == messages + [{"role": "assistant", "content": ""}] * prompt
    answers = sum(message["role"] == "assistant" for message in messages)
    assert ids.count(SPECIAL.eos) == answers
    assert ids.count(SPECIAL.bos) == 1
