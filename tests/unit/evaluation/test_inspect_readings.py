import math

import pytest
import torch

from jielong.core.errors import ConfigError
from jielong.evaluation.inspect_readings import MOST, Names, inspect_text, read
from jielong.generation.loading import Assistant
from jielong.tokenizer.bpe import Tokenizer
from tests.tiny import assistant, decoder, tokenizer

BOS = tokenizer().special.bos


def reader(**changes: object) -> Assistant:
    vocabulary = tokenizer()
    changes = {"context": 200, "vocab_size": vocabulary.vocab_size} | changes
    return Assistant("tiny", decoder(**changes), vocabulary)


def test_probabilities_bits_and_ranks_by_hand() -> None:
    """p = 1/2, 1/4, 1/8, 1/8; the last two share a rank."""
    scores = torch.tensor([0.5, 0.25, 0.125, 0.125]).log() + 3
    found = read(scores.expand(4, 4), [0, 1, 3, None], 2, Names(tokenizer()))
    assert [reading.truth and reading.truth.rank for reading in found] == [1, 2, 3, None]
    bits = [reading.truth.bits for reading in found if reading.truth]
    assert bits == pytest.approx([1, 2, 3])
    assert [guess.token.id for guess in found[0].best] == [0, 1]
    assert [guess.value for guess in found[0].best] == pytest.approx([0.5, 0.25])


def test_a_certain_surprise_stays_a_number() -> None:
    found = read(torch.tensor([[0.0, 500.0]]), [0], 1, Names(tokenizer()))[0].truth
    assert found is not None
    assert found.bits == pytest.approx(500 / math.log(2))
    assert 0 < found.probability < 1e-200


@torch.no_grad()
def test_each_position_is_asked_for_the_next_token() -> None:
    text = "一心一意"
    found = inspect_text(reader(), text)
    ids = [BOS, *tokenizer().encode(text)]
    assert [token.id for token in found.tokens] == ids
    truths = [reading.truth for reading in found.readings]
    assert [truth and truth.token.id for truth in truths] == [*ids[1:], None]
    scores = found.model(torch.tensor([ids]))[0].log_softmax(-1)
    for place, truth in enumerate(truths[:-1]):
        assert truth is not None
        assert truth.logp == pytest.approx(float(scores[place, ids[place + 1]]), abs=1e-5)
    assert found.surprises[0] is None
    assert found.surprises[1:] == tuple(truth.bits for truth in truths if truth)
    assert found.text_bytes == len(text.encode())


def test_a_model_that_sees_both_ways_is_asked_for_the_token_itself() -> None:
    found = inspect_text(reader(bidirectional=True), "一心")
    ids = [token.id for token in found.tokens]
    assert [reading.truth and reading.truth.token.id for reading in found.readings] == ids
    assert None not in found.surprises
    assert not found.is_causal


def test_the_last_layer_of_the_lens_is_the_models_own_answer() -> None:
    found = inspect_text(reader(), "春风化雨,雨过天晴", best=1)
    assert {len(states) for states in found.lens} == {3}
    for states, reading in zip(found.lens, found.readings, strict=True):
        assert states[-1].best[0].token == reading.best[0].token
        assert states[-1].best[0].value == pytest.approx(reading.best[0].value)
        assert (states[-1].truth is None) == (reading.truth is None)
    assert any(states[0].best != states[-1].best for states in found.lens)


@torch.no_grad()
def test_neighbours_are_the_nearest_by_cosine() -> None:
    found = inspect_text(reader(), "一心一意", best=3)
    weight = found.model.embedding.weight
    assert [token.id for token, _ in found.neighbours] == list(
        dict.fromkeys(token.id for token in found.tokens)
    )
    for token, guesses in found.neighbours:
        cosines = {
            other: float(torch.cosine_similarity(weight[token.id], weight[other], dim=0))
            for other in range(len(weight))
            if other != token.id
        }
        nearest = sorted(cosines, key=cosines.__getitem__, reverse=True)[:3]
        assert [guess.token.id for guess in guesses] == nearest
        values = [guess.value for guess in guesses]
        assert values == pytest.approx([cosines[other] for other in nearest], abs=1e-6)


def test_a_part_of_a_character_says_of_which() -> None:
    """The vocabulary has learned one character; another comes in three bytes."""
    vocabulary = Tokenizer.train(["意"] * 9, 6 + 256 + 2)
    ids = [vocabulary.special.bos, *vocabulary.encode("意龘 ")]
    tokens = Names(vocabulary).in_text(ids)
    assert [(token.text, token.part_of) for token in tokens] == [
        ("<bos>", ""),
        ("意", ""),
        (r"\xe9", "龘"),
        (r"\xbe", "龘"),
        (r"\x98", "龘"),
        ("␣", ""),
    ]


@pytest.mark.parametrize(("context", "shown"), [(200, MOST), (12, 12)])
def test_a_long_text_is_cut_behind(context: int, shown: int) -> None:
    text = "一心" * 40 + "龘" * 60
    found = inspect_text(reader(context=context), text)
    ids = [BOS, *tokenizer().encode(text)]
    assert (len(found.tokens), found.text_tokens) == (shown, len(ids))
    assert [token.id for token in found.tokens] == ids[:shown]
    assert "�" not in "".join(token.part_of for token in found.tokens)


def test_an_empty_text_shows_what_may_begin_one() -> None:
    found = inspect_text(reader(), "")
    assert [token.text for token in found.tokens] == ["<bos>"]
    assert found.readings[0].truth is None
    assert len(found.readings[0].best) == 5


@pytest.mark.parametrize("best", [0, -1, 300])
def test_lists_of_no_length_are_refused(best: int) -> None:
    with pytest.raises(ConfigError, match=f"^best: {best}: must be from 1 to 299$"):
        inspect_text(assistant(), "一", best=best)


def test_a_number_beyond_the_vocabulary_has_a_name() -> None:
    """Embeddings are often made larger than the tokenizer needs."""
    assert Names(tokenizer())(999).text == "<999>"
