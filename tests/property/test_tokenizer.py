"""For any text at all: what goes in comes out, and no text can speak in special tokens."""

from functools import cache

from hypothesis import given
from hypothesis import strategies as st

from jielong.tokenizer.bpe import StreamDecoder, Tokenizer
from jielong.tokenizer.chat_template import render
from jielong.tokenizer.reference_bpe import ReferenceBPE
from jielong.tokenizer.special_tokens import SPECIAL, SPELLINGS
from jielong.tokenizer.standard_files import MARK
from tests.mixed_text import lines
from tests.tiny import TEXTS, tokenizer

characters = st.characters(exclude_categories=["Cs"])
words = st.sampled_from(
    [*SPELLINGS, *TEXTS, MARK, "<eo", "s>", "<", ">", "\r\n", "  ", "🧑‍🚀", "à", "〇々"]
)
texts = st.text(characters) | st.lists(words | st.text(characters, max_size=3)).map("".join)


@given(texts)
def test_decode_of_encode_is_the_text(text: str) -> None:
    ids = tokenizer().encode(text)
    assert tokenizer().decode(ids) == text
    assert tokenizer().decode_bytes(ids) == text.encode()


@cache
def others() -> list[Tokenizer]:
    """Vocabularies full of special spellings, cut in every way."""
    learned = [*lines(200), *SPELLINGS * 30, *(s + MARK for s in SPELLINGS * 30)]
    return [Tokenizer.train(learned, 700, "words", 3), Tokenizer.train(learned, 700, digits=1)]


@given(texts)
def test_the_same_holds_however_text_is_cut(text: str) -> None:
    for other in others():
        ids = other.encode(text)
        assert other.decode(ids) == text
        assert not set(ids) & set(other.special)


@given(st.lists(st.sampled_from([*SPELLINGS, MARK, "<", ">", "eos", "user", " ", "\n"])))
def test_text_built_around_the_spellings_yields_no_special_token(pieces: list[str]) -> None:
    text = "".join(pieces)
    for one in (tokenizer(), *others()):
        assert not set(one.encode(text)) & set(one.special)
        assert one.decode(one.encode(text)) == text


@given(texts)
def test_pieces_joined_are_the_text(text: str) -> None:
    for one in (tokenizer(), *others()):
        assert one.decode([i for piece in one.pieces(text) for i in piece]) == text


@given(texts, st.sampled_from(["bytes", "characters"]))
def test_the_reference_gives_back_every_text(text: str, variant) -> None:
    learned = ReferenceBPE.train(f"{text} {TEXTS[0]}", 12, variant)
    assert learned.decode(learned.encode(text)) == text
    if variant == "bytes":
        assert learned.decode(learned.encode(f"龘{text}\U0010ffff")) == f"龘{text}\U0010ffff"


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
