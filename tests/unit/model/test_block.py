import math

import pytest
import torch
from torch.nn import functional as F

from jielong.model.block import Block
from jielong.model.feed_forward import FeedForward
from jielong.model.transformer import Transformer
from jielong.model.visibility import look
from tests.tiny import config, decoder, random_ids, randomise


def gelu(x: torch.Tensor) -> torch.Tensor:
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def gelu_by_tanh(x: torch.Tensor) -> torch.Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


PLAIN = {
    "gelu": gelu,
    "gelu_tanh": gelu_by_tanh,
    "relu": lambda x: x.clamp(min=0),
    "relu2": lambda x: x.clamp(min=0) ** 2,
}
GATED = {"swiglu": lambda x: x / (1 + (-x).exp()), "geglu": gelu, "geglu_tanh": gelu_by_tanh}


@pytest.mark.parametrize("kind", PLAIN)
def test_a_plain_feed_forward_is_its_definition(kind: str) -> None:
    layer = FeedForward(config(ffn=kind, bias="all"))
    randomise(layer, 0)
    x = torch.randn(3, 24, generator=torch.Generator().manual_seed(1))
    inner = PLAIN[kind](x @ layer.up.weight.T + layer.up.bias)
    torch.testing.assert_close(layer(x), inner @ layer.down.weight.T + layer.down.bias)


@pytest.mark.parametrize("kind", GATED)
def test_a_gated_feed_forward_is_its_definition(kind: str) -> None:
    layer = FeedForward(config(ffn=kind))
    randomise(layer, 0)
    x = torch.randn(3, 24, generator=torch.Generator().manual_seed(1))
    gate, up = layer.gate_up.weight.split(40)
    inner = GATED[kind](x @ gate.T) * (x @ up.T)
    torch.testing.assert_close(layer(x), inner @ layer.down.weight.T)


@pytest.mark.parametrize("norm", ["rms", "layer"])
@pytest.mark.parametrize("place", ["pre", "post", "both"])
def test_norms_stand_where_the_configuration_puts_them(place: str, norm: str) -> None:
    block = Block(config(norm_place=place, norm=norm, positions="none"), 0).eval()
    randomise(block, 0)
    x = torch.randn(2, 5, 24, generator=torch.Generator().manual_seed(1))
    sight = look(torch.zeros(2, 5, dtype=torch.long), causal=True)

    def attend(y: torch.Tensor) -> torch.Tensor:
        return block.attention(y, None, sight, None)

    first, second = block.attention_norm, block.feed_forward_norm
    if place == "pre":
        y = x + attend(first(x))
        expected = y + block.feed_forward(second(y))
    elif place == "post":
        y = first(x + attend(x))
        expected = second(y + block.feed_forward(y))
    else:
        y = x + block.attention_after(attend(first(x)))
        expected = y + block.feed_forward_after(block.feed_forward(second(y)))
    torch.testing.assert_close(block(x, None, sight), expected)
    if norm == "layer":
        torch.testing.assert_close(
            first(x), F.layer_norm(x, (24,), first.weight, first.bias, eps=1e-6)
        )


@pytest.mark.parametrize("place", ["post", "both"])
def test_every_matrix_gets_a_gradient_from_the_first_step_on(place: str) -> None:
    torch.manual_seed(0)
    model = Transformer(config(norm_place=place))
    ids = random_ids(2, 8)
    F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten()).backward()
    sizes = {name: float(p.grad.norm()) for name, p in model.named_parameters()}
    assert all(1e-4 < size < 100 for name, size in sizes.items() if name.endswith("weight")), sizes


def test_a_bidirectional_model_sees_what_comes_after() -> None:
    model, ids = decoder(bidirectional=True), random_ids(1, 9)
    changed = ids.clone()
    changed[0, 8] = (ids[0, 8] + 1) % 23
    assert (model(ids)[:, :8] - model(changed)[:, :8]).abs().amax(-1).min() > 1e-4
    is_token = torch.arange(12)[None] < 9
    padded = torch.cat([ids, torch.full((1, 3), 7)], dim=1)
    torch.testing.assert_close(
        model(padded, is_token=is_token)[:, :9], model(ids), atol=1e-5, rtol=1e-5
    )


def test_a_bidirectional_model_takes_no_pattern_that_looks_back() -> None:
    with pytest.raises(ValueError, match=r"^attention: 'sliding:4': a"):
        config(bidirectional=True, attention="sliding:4")
