"""GPT-1 and GPT-2 have as many parameters in transformers as by our arithmetic."""

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, OpenAIGPTConfig, OpenAIGPTLMHeadModel

from jielong.model.published import PUBLISHED, Published
from jielong.model.sizes import parameters

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("model", PUBLISHED, ids=lambda model: model.name)
def test_parameters_are_equal(model: Published) -> None:
    """GPT-3 has GPT-2's parts: what differs is what its layers look at."""
    shape = model.config
    sizes = {
        "vocab_size": shape.vocab_size,
        "n_positions": shape.context,
        "n_embd": shape.width,
        "n_layer": shape.n_layer,
        "n_head": shape.n_head,
    }
    with torch.device("meta"):
        if model.name.startswith("gpt1"):
            theirs = OpenAIGPTLMHeadModel(OpenAIGPTConfig(**sizes))
        else:
            theirs = GPT2LMHeadModel(GPT2Config(**sizes))
    theirs.tie_weights()
    assert parameters(shape).total == sum(p.numel() for p in theirs.parameters())
