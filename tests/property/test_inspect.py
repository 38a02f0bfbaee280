"""What a trace shows is what the model did, whatever its parts."""

import copy

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from jielong.evaluation.inspect_trace import trace
from jielong.model.config import ModelConfig
from jielong.model.transformer import Transformer
from tests.shapes import shapes
from tests.tiny import randomise


@given(shapes(), st.integers(1, 12), st.integers(0, 99))
@settings(max_examples=60)
@torch.no_grad()
def test_the_maps_give_what_the_heads_took(parts: dict, tokens: int, seed: int) -> None:
    """weights x values is the very input of each layer's output matrix."""
    shape = ModelConfig(**parts)
    model, ids = built(shape, tokens, seed)
    values: list[Tensor] = []
    took: list[Tensor] = []

    def see_values(layer: nn.Module, given: tuple, _: Tensor) -> None:
        values.append(layer.project(given[0], given[1])[2][0])

    for block in model.blocks:
        block.attention.register_forward_hook(see_values)
        block.attention.output.register_forward_pre_hook(lambda _, given: took.append(given[0][0]))
    maps = trace(model, ids).attention
    assert maps.shape == (shape.n_layer, shape.n_head, tokens, tokens)
    torch.testing.assert_close(maps.sum(dim=-1), torch.ones(maps.shape[:-1]))
    for weights, value, found in zip(maps, values, took, strict=True):
        shared = value.repeat_interleave(shape.n_head // shape.n_kv_head, dim=0)
        by_hand = (weights @ shared).transpose(0, 1).flatten(1)
        torch.testing.assert_close(by_hand, found, atol=1e-5, rtol=1e-4)


@given(shapes(), st.integers(1, 12), st.integers(0, 99))
@settings(max_examples=40)
@torch.no_grad()
def test_a_state_says_what_a_model_cut_off_there_would(parts: dict, tokens: int, seed: int) -> None:
    shape = ModelConfig(**parts)
    model, ids = built(shape, tokens, seed)
    found = trace(model, ids)
    assert torch.equal(found.scores, model(torch.tensor([ids]))[0])
    assert len(found.states) == shape.n_layer + 1
    for layers, state in enumerate(found.states):
        short = copy.copy(model)
        short._modules = model._modules | {"blocks": model.blocks[:layers]}
        torch.testing.assert_close(model.logits(model.norm(state)), short(torch.tensor([ids]))[0])


def built(shape: ModelConfig, tokens: int, seed: int) -> tuple[Transformer, list[int]]:
    """A model in which every weight matters, and a text for it."""
    model = Transformer(shape).eval()
    randomise(model, seed)
    random = torch.Generator().manual_seed(seed)
    return model, torch.randint(shape.vocab_size, (tokens,), generator=random).tolist()
