import itertools

import pytest
import torch

from jielong.generation.beam import beam_search
from jielong.generation.sampling import Sampling
from jielong.tokenizer.special_tokens import SPECIAL
from tests.tiny import decoder

PROMPT = [1, 6, 7]


@torch.no_grad()
def best_by_enumeration(model: torch.nn.Module, most: int, penalty: float) -> tuple[list, float]:
    """Every answer there is, of at most `most` tokens: log-probability / length^penalty."""
    tokens = range(model.config.vocab_size)
    answers = []
    for length in range(1, most + 1):
        for answer in itertools.product(tokens, repeat=length):
            ended = answer[-1] == SPECIAL.eos
            if SPECIAL.eos in answer[:-1] or (not ended and length < most):
                continue
            answers.append(list(answer))
    scored = []
    for answer in answers:
        logp = model(torch.tensor([PROMPT + answer])).log_softmax(-1)[0]
        total = sum(logp[len(PROMPT) - 1 + i, t].item() for i, t in enumerate(answer))
        scored.append((total / len(answer) ** penalty, answer))
    score, answer = max(scored)
    return answer, score


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("seed", [3, 5, 7])  # <eos> comes first, second, or third
def test_enough_beams_find_the_best_answer_of_all(penalty: float, seed: int) -> None:
    """With 8 tokens, 64 beams keep every prefix of two, so nothing is lost in three steps."""
    model = decoder(seed, std=0.5, vocab_size=8)
    sampling = Sampling(strategy="beam", beams=64, max_tokens=3, length_penalty=penalty)
    ids, score = beam_search(model, PROMPT, sampling)
    answer, best = best_by_enumeration(model, 3, penalty)
    assert answer[-1] == SPECIAL.eos
    assert ids == answer
    assert score == pytest.approx(best, abs=1e-5)


def test_one_beam_is_greedy_until_the_end() -> None:
    model = decoder(3, vocab_size=30)
    ids, _ = beam_search(model, PROMPT, Sampling(strategy="beam", beams=1, max_tokens=6))
    expected = list(PROMPT)
    for _ in range(6):
        expected.append(int(model(torch.tensor([expected]))[0, -1].argmax()))
        if expected[-1] == SPECIAL.eos:
            break
    assert ids == expected[len(PROMPT) :]


def test_the_context_is_the_end() -> None:
    model = decoder(3, vocab_size=30, context=6)
    ids, _ = beam_search(model, PROMPT, Sampling(strategy="beam", max_tokens=50))
    assert len(ids) <= 3
