import math

import pytest
import torch

from jielong.core.errors import ContextLengthError
from jielong.generation.engine import decode, generate, stream
from jielong.generation.loading import Assistant
from jielong.generation.sampling import Sampling
from jielong.tokenizer.special_tokens import SPECIAL
from tests.tiny import TEXTS, assistant, decoder, random_ids, tokenizer

PROMPTS = [[1, 4, 9, 12, 30, 5], [1, 4, 8, 5], [1, 7], [1, 4, 60, 61, 62, 63, 64, 5]]


def greedy_by_hand(assistant: Assistant, prompt: list[int], most: int) -> list[int]:
    """The best token of a full forward pass, again and again."""
    ids = list(prompt)
    while len(ids) - len(prompt) < most:
        ids.append(int(assistant.model(torch.tensor([ids]))[0, -1].argmax()))
        if ids[-1] == SPECIAL.eos:
            break
    return ids[len(prompt) :]


@pytest.mark.parametrize("batch", [1, 3, 128])
def test_greedy_answers_are_those_of_full_forward_passes(batch: int) -> None:
    answers = generate(assistant(), PROMPTS, Sampling(strategy="greedy", max_tokens=12), batch)
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        assert answer.ids == greedy_by_hand(assistant(), prompt, 12)
        logp = assistant().model(torch.tensor([prompt + answer.ids])).log_softmax(-1)[0]
        expected = [logp[len(prompt) - 1 + i, t].item() for i, t in enumerate(answer.ids)]
        assert answer.logps == pytest.approx(expected, abs=1e-4)
        assert answer.text == tokenizer().decode(answer.ids)


def sampled(seed: int = 3, **settings: object) -> Sampling:
    return Sampling(**{"max_tokens": 16, "temperature": 0.8, "seed": seed} | settings)


def test_the_same_seed_gives_the_same_answers() -> None:
    one, two, other = (
        [answer.ids for answer in generate(assistant(), PROMPTS, sampled(seed))]
        for seed in (3, 3, 4)
    )
    assert one == two
    assert one != other


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_a_row_answers_alike_whoever_its_neighbours_are(batch: int) -> None:
    straight = generate(assistant(), PROMPTS, sampled())
    assert [a.ids for a in generate(assistant(), PROMPTS, sampled(), batch)] == [
        a.ids for a in straight
    ]


def test_a_row_goes_as_far_as_its_own_context_whoever_its_neighbours_are() -> None:
    """Of 32 positions one prompt leaves 3, the other 28: neither shortens the other."""
    long, short = random_ids(29).tolist(), [1, 4, 9, 5]
    together = generate(assistant(), [long, short], sampled(max_tokens=100))
    alone = [
        generate(assistant(), [long], sampled(max_tokens=100))[0],
        generate(assistant(), [[1], short], sampled(max_tokens=100))[1],
    ]
    assert [len(answer.ids) for answer in together] == [3, 28]
    assert [answer.ids for answer in together] == [answer.ids for answer in alone]


def test_sampled_log_probabilities_are_those_of_the_distribution() -> None:
    for prompt, answer in zip(PROMPTS, generate(assistant(), PROMPTS, sampled()), strict=True):
        scores = assistant().model(torch.tensor([prompt + answer.ids]))[0] / 0.8
        logp = scores.log_softmax(-1)[torch.arange(len(answer.ids)) + len(prompt) - 1]
        expected = logp[torch.arange(len(answer.ids)), answer.ids]
        assert answer.logps == pytest.approx(expected.tolist(), abs=1e-4)


def ending(at: int) -> Assistant:
    """A model that says <eos> with certainty once it stands at position `at` or later."""

    class Ending(type(decoder())):
        def logits(self, hidden: torch.Tensor) -> torch.Tensor:
            scores = super().logits(hidden)
            late = self.position >= at
            scores[..., SPECIAL.eos] = 1e4 if late else -1e4
            return scores

        def hidden(self, ids, *, cache=None, **reading):
            states = super().hidden(ids, cache=cache, **reading)
            self.position = cache.length - 1
            return states

    model = Ending(decoder(vocab_size=tokenizer().vocab_size).config)
    model.load_state_dict(assistant().model.state_dict())
    return Assistant("ending", model.eval(), tokenizer())


def test_an_answer_ends_with_eos() -> None:
    """Four prompt tokens at positions 0 to 3; at position 6 <eos> is chosen: three others first."""
    (answer,) = generate(ending(6), [[1, 4, 9, 5]], sampled())
    assert len(answer.ids) == 4
    assert answer.ids.index(SPECIAL.eos) == 3
    assert answer.finish == "stop"


def test_rows_that_end_leave_the_others_in_place() -> None:
    """Greedy answers of a model that ends at different places, together and one by one."""
    model = decoder(seed=4, std=0.6, vocab_size=8)  # few tokens: <eos> comes soon, at random
    small = Assistant("small", model, tokenizer())
    prompts = [[1, 6], [1, 7, 6, 3], [1, 3], [1, 4, 7], [1, 5, 6, 7], [1, 1]]
    together = generate(small, prompts, sampled(max_tokens=20))
    sizes = {len(answer.ids) for answer in together}
    assert len(sizes) > 3  # they do end at different places
    assert {answer.finish for answer in together} == {"stop", "length"}
    for answer in together:
        ended = answer.ids[-1] == SPECIAL.eos
        assert (answer.finish == "stop") == ended
        assert SPECIAL.eos not in answer.ids[:-1]
        assert ended or len(answer.ids) == 20
    for prompt, answer in zip(prompts, together, strict=True):
        logp = (model(torch.tensor([prompt + answer.ids]))[0] / 0.8).log_softmax(-1)
        places = torch.arange(len(answer.ids)) + len(prompt) - 1
        assert answer.logps == pytest.approx(logp[places, answer.ids].tolist(), abs=1e-4)


def test_the_context_is_the_end() -> None:
    (answer,) = generate(assistant(), [random_ids(29).tolist()], sampled(max_tokens=100))
    assert len(answer.ids) <= 3
    with pytest.raises(ContextLengthError, match="32 tokens and the model's context is 32") as e:
        generate(assistant(), [[1], random_ids(32).tolist()], sampled())
    assert (e.value.tokens, e.value.context) == (32, 32)
    with pytest.raises(ContextLengthError):
        generate(assistant(), [random_ids(32).tolist()], Sampling(strategy="beam"))


def test_dropout_is_off_while_generating_and_the_mode_given_back() -> None:
    model = decoder(dropout=0.5, vocab_size=tokenizer().vocab_size).train()
    dropping = Assistant("dropping", model, tokenizer())
    greedy = Sampling(strategy="greedy", max_tokens=8)
    assert generate(dropping, PROMPTS, greedy) == generate(assistant(), PROMPTS, greedy)
    assert model.training


def test_beam_search_answers_through_the_same_function() -> None:
    sampling = Sampling(strategy="beam", beams=3, max_tokens=4)
    answers = generate(assistant(), PROMPTS[:2], sampling)
    assert [len(answer.ids) <= 4 for answer in answers] == [True, True]
    (text, answer), *rest = stream(assistant(), PROMPTS[0], sampling)
    assert rest == []
    assert (text, answer.ids) == (answers[0].text, answers[0].ids)


def test_streamed_text_is_the_answer() -> None:
    for seed in range(4):
        (answer,) = generate(assistant(), [PROMPTS[0]], sampled(seed))
        pieces = list(stream(assistant(), PROMPTS[0], sampled(seed)))
        last = pieces[-1][1]
        assert "".join(text for text, _ in pieces) == answer.text == last.text
        assert (last.ids, last.finish, last.logps) == (answer.ids, answer.finish, answer.logps)


def saying(text: str) -> Assistant:
    """A model that says `text` and then <eos>, whatever it is asked."""
    said = [*tokenizer().encode(text), SPECIAL.eos]

    class Saying(type(decoder())):
        said_so_far = 0

        def logits(self, hidden: torch.Tensor) -> torch.Tensor:
            scores = super().logits(hidden)
            scores[..., said[self.said_so_far]] = 1e4
            self.said_so_far += 1
            return scores

    model = Saying(decoder(vocab_size=tokenizer().vocab_size, context=200).config)
    return Assistant("saying", model, tokenizer())


@pytest.mark.parametrize(
    ("text", "stop", "shown", "finish"),
    [
        (TEXTS[0], (), TEXTS[0], "stop"),
        ("abc STOP def", ("STOP",), "abc ", "stop"),
        ("abc STO def", ("STOP",), "abc STO def", "stop"),
        ("abc STO", ("STOP",), "abc STO", "stop"),
        ("春风化雨", ("化", "风"), "春", "stop"),
        ("STOP", ("STOP",), "", "stop"),
        ("龘龘", ("龘龘龘",), "龘龘", "stop"),
    ],
)
def test_a_stop_string_is_never_shown(
    text: str, stop: tuple[str, ...], shown: str, finish: str
) -> None:
    pieces = list(stream(saying(text), [1, 5], Sampling(strategy="greedy", stop=stop)))
    assert "".join(piece for piece, _ in pieces) == shown == pieces[-1][1].text
    assert pieces[-1][1].finish == finish
    assert all("\ufffd" not in piece for piece, _ in pieces)


def test_decode_yields_rows_as_they_are() -> None:
    rows = list(decode(assistant().model, PROMPTS, sampled(max_tokens=2)))
    assert [row for row, _, _ in rows][:4] == [0, 1, 2, 3]
    assert all(math.isfinite(logp) and logp <= 0 for _, _, logp in rows)
