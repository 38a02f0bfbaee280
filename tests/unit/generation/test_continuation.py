"""Answers of models that read their prompt in another way, against full forward passes."""

import pytest
import torch

from jielong.core.errors import ContextLengthError
from jielong.generation.beam import beam_search
from jielong.generation.continuation import Continuation
from jielong.generation.engine import generate, stream
from jielong.generation.loading import Trained
from jielong.generation.sampling import Sampling
from jielong.tokenizer.special_tokens import SPECIAL
from tests.tiny import decoder, encoder_decoder, tokenizer

PROMPTS = [[1, 4, 9, 12, 30, 5], [1, 8], [1, 7, 60, 61, 62, 63, 64, 5]]
GREEDY = Sampling(strategy="greedy", max_tokens=9)


def trained(kind: str) -> Trained:
    vocab_size = tokenizer().vocab_size
    if kind == "prefix":
        model = decoder(std=0.5, vocab_size=vocab_size, objective="prefix")
        return Trained(kind, model, tokenizer())
    return Trained(kind, encoder_decoder(std=0.5, vocab_size=vocab_size), tokenizer())


def scores(answering: Trained, prompt: list[int], answer: list[int]) -> torch.Tensor:
    """The scores (n + 1, V) of each token of an answer of n and of the one after it."""
    if answering.name == "prefix":
        ids = torch.tensor([prompt + answer])
        prefix = torch.tensor([len(prompt)])
        return answering.model(ids, prefix=prefix)[0, len(prompt) - 1 :]
    source = torch.tensor([[*prompt, SPECIAL.eos]])
    return answering.model(source, torch.tensor([[SPECIAL.bos, *answer]]))[0]


def greedy_by_hand(answering: Trained, prompt: list[int], most: int) -> list[int]:
    answer: list[int] = []
    while len(answer) < most and answer[-1:] != [SPECIAL.eos]:
        answer.append(int(scores(answering, prompt, answer)[-1].argmax()))
    return answer


@pytest.mark.parametrize("kind", ["prefix", "encoder_decoder"])
@pytest.mark.parametrize("batch", [1, 3])
def test_greedy_answers_are_those_of_full_forward_passes(kind: str, batch: int) -> None:
    answering = trained(kind)
    for prompt, found in zip(PROMPTS, generate(answering, PROMPTS, GREEDY, batch), strict=True):
        assert found.ids == greedy_by_hand(answering, prompt, 9)
        logp = scores(answering, prompt, found.ids).log_softmax(-1)
        expected = [logp[i, token].item() for i, token in enumerate(found.ids)]
        assert found.logps == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("kind", ["prefix", "encoder_decoder"])
def test_a_prompt_is_read_both_ways(kind: str) -> None:
    """A causal model with the same weights says something else."""
    answering = trained(kind)
    prompt = PROMPTS[0]
    own = scores(answering, prompt, [])[-1]
    rows = Continuation(answering.model, [prompt], 4, SPECIAL)
    torch.testing.assert_close(rows.scores[0], own, atol=1e-4, rtol=1e-4)
    if kind == "prefix":
        plain = answering.model(torch.tensor([prompt]))[0, -1]
        assert (plain - own).abs().max() > 1e-3


@pytest.mark.parametrize("kind", ["prefix", "encoder_decoder"])
def test_sampled_rows_do_not_know_their_neighbours(kind: str) -> None:
    answering = trained(kind)
    rule = Sampling(max_tokens=12, temperature=0.9, seed=5)
    together = [answer.ids for answer in generate(answering, PROMPTS, rule)]
    assert [answer.ids for answer in generate(answering, PROMPTS, rule, 1)] == together
    assert len({tuple(ids) for ids in together}) == 3


@pytest.mark.parametrize("kind", ["prefix", "encoder_decoder"])
def test_beams_and_streams_take_the_same_prompts(kind: str) -> None:
    answering = trained(kind)
    one = Sampling(strategy="beam", beams=1, max_tokens=6)
    ids, _ = beam_search(answering.model, PROMPTS[0], one)
    assert ids == greedy_by_hand(answering, PROMPTS[0], 6)
    *_, (_, last) = stream(answering, PROMPTS[0], GREEDY)
    assert last.ids == greedy_by_hand(answering, PROMPTS[0], 9)
    three = Sampling(strategy="beam", beams=3, max_tokens=5)
    ids, score = beam_search(answering.model, PROMPTS[0], three)
    logp = scores(answering, PROMPTS[0], ids).log_softmax(-1)
    total = sum(logp[i, token].item() for i, token in enumerate(ids))
    assert score == pytest.approx(total / len(ids), abs=1e-4)


def test_rooms_of_a_source_and_its_answer_are_apart() -> None:
    """Of 32 positions a source of 20 takes none from the answer, whose first is <bos>."""
    model = trained("encoder_decoder").model
    rows = Continuation(model, [[1] * 20, [1, 5]], 100, SPECIAL)
    assert rows.room.tolist() == [31, 31]
    prefix = Continuation(trained("prefix").model, [[1] * 20, [1, 5]], 100, SPECIAL)
    assert prefix.room.tolist() == [12, 30]
    assert Continuation(model, [[1] * 31], 1, SPECIAL).scores.isfinite().all()
    with pytest.raises(ContextLengthError, match="the prompt has 32 tokens"):
        Continuation(model, [[1] * 32], 1, SPECIAL)


def test_padding_needs_no_token_of_its_own() -> None:
    """An imported model whose makers had no padding: the id told for it is past the embedding."""
    model = decoder(std=0.5, vocab_size=20)
    special = SPECIAL._replace(pad=20)
    together = Continuation(model, [[5, 6, 7], [8]], 3, special).scores
    for row, prompt in enumerate(([5, 6, 7], [8])):
        alone = Continuation(model, [prompt], 3, special).scores
        torch.testing.assert_close(together[row : row + 1], alone)


def test_rows_take_their_scores_and_room_along() -> None:
    model = trained("prefix").model
    rows = Continuation(model, [[1, 8], [1, 9, 7], [1, 6, 5, 4]], 100, SPECIAL)
    scores, room = rows.scores, rows.room
    rows.select(torch.tensor([2, 0, 2]))
    assert torch.equal(rows.scores, scores[[2, 0, 2]])
    assert torch.equal(rows.room, room[[2, 0, 2]])
    assert len({*room.tolist()}) == 3
