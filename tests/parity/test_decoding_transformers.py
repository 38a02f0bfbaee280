"""Decoding rules against those of the transformers library."""

import pytest
import torch
from transformers import Qwen3ForCausalLM
from transformers.generation.logits_process import (
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from jielong.generation.beam import beam_search
from jielong.generation.engine import generate
from jielong.generation.loading import Assistant
from jielong.generation.sampling import Sampling, choose, keep_top_k, keep_top_p
from jielong.tokenizer.special_tokens import SPECIAL
from tests.parity.test_decoder_qwen3 import qwen3
from tests.tiny import decoder, tokenizer

pytestmark = pytest.mark.parity

PROMPTS = [[1, 4, 9, 12, 5], [1, 7], [1, 4, 20, 21, 22, 5]]


def scores(seed: int = 0) -> torch.Tensor:
    return 3 * torch.randn(64, 50, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("k", [1, 5, 50, 80])
def test_top_k(k: int) -> None:
    expected = TopKLogitsWarper(k)(None, scores())
    assert torch.equal(keep_top_k(scores(), k), expected)


@pytest.mark.parametrize("p", [0.01, 0.3, 0.9, 0.999])
def test_top_p(p: float) -> None:
    expected = TopPLogitsWarper(p)(None, scores())
    assert torch.equal(keep_top_p(scores(), p), expected)


@pytest.mark.parametrize(("temperature", "k", "p"), [(0.7, 20, 0.9), (1.5, 8, 0.5), (0.3, 40, 0.8)])
def test_all_rules_together_in_their_order(temperature: float, k: int, p: float) -> None:
    """The log-probability of what we choose is that of their distribution, however it falls."""
    rules = [TemperatureLogitsWarper(temperature), TopKLogitsWarper(k), TopPLogitsWarper(p)]
    theirs = LogitsProcessorList(rules)(None, scores()).log_softmax(-1)
    uniforms = torch.rand(64, generator=torch.Generator().manual_seed(1))
    sampling = Sampling(temperature=temperature, top_k=k, top_p=p)
    tokens, logp = choose(scores(), sampling, uniforms)
    torch.testing.assert_close(logp, theirs[torch.arange(64), tokens])
    below = theirs.exp().double().cumsum(-1)
    expected = (below <= uniforms.double()[:, None]).sum(-1)
    assert torch.equal(tokens, expected)


def answers(model: Qwen3ForCausalLM, prompt: list[int], **settings: object) -> torch.Tensor:
    """What their `generate` appends to the prompt."""
    ids = torch.tensor([prompt])
    with torch.no_grad():
        output = model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, **settings
        )
    return output[0, len(prompt) :]


@pytest.mark.parametrize("seed", [0, 1])
def test_greedy_answers(seed: int) -> None:
    ours = decoder(seed, vocab_size=300)
    theirs = qwen3(ours)
    greedy = Sampling(strategy="greedy", max_tokens=16)
    completions = generate(Assistant("tiny", ours, tokenizer()), PROMPTS, greedy)
    for prompt, completion in zip(PROMPTS, completions, strict=True):
        assert completion.ids == answers(theirs, prompt, max_new_tokens=16).tolist()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("length_penalty", [0.0, 0.7, 1.0, 2.0, -1.0])
@pytest.mark.parametrize("beams", [1, 3, 5])
def test_beam_search_answers(seed: int, length_penalty: float, beams: int) -> None:
    """Small vocabularies, in which <eos> is often among the best: answers of many lengths."""
    ours = decoder(seed, std=0.25, vocab_size=12)
    settings = {"num_beams": beams, "length_penalty": length_penalty, "early_stopping": False}
    if beams == 1:
        settings = {"num_beams": 1}
    for prompt in ([1, 9, 5], [1, 7, 8, 11, 5]):
        expected = answers(qwen3(ours), prompt, max_new_tokens=10, **settings).tolist()
        sampling = Sampling(
            strategy="beam", beams=beams, max_tokens=10, length_penalty=length_penalty
        )
        ids, _ = beam_search(ours, prompt, sampling)
        if SPECIAL.eos in expected:
            expected = expected[: expected.index(SPECIAL.eos) + 1]
        assert ids == expected
