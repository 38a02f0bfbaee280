import pytest
import torch
from torch.nn import functional as F

from jielong.model import tiles
from jielong.model.feed_forward import FeedForward
from tests.tiny import config, randomise

GATES = {
    "swiglu": F.silu,
    "geglu": F.gelu,
    "geglu_tanh": lambda x: F.gelu(x, approximate="tanh"),
}


@pytest.fixture(params=["one tile", "many tiles"])
def cut(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "many tiles":
        monkeypatch.setattr(tiles, "SIZE", 200)


def layer(ffn: str, **changes: object) -> FeedForward:
    made = FeedForward(config(ffn=ffn, **changes))
    randomise(made, 1)
    return made


@pytest.mark.usefixtures("cut")
@pytest.mark.parametrize("ffn", GATES)
def test_a_gate_is_its_definition(ffn: str) -> None:
    """Values and gradients to 1e-6 of the largest, in single precision."""
    made = layer(ffn, bias="all")
    assert made.gate_up is not None
    random = torch.Generator().manual_seed(0)
    x, slope = torch.randn(2, 3, 5, 24, generator=random)
    x.requires_grad_()
    gate, up = made.gate_up(x).split(40, dim=-1)
    found = []
    for y in (made(x), made.down(GATES[ffn](gate) * up)):
        found.append((y, *torch.autograd.grad(y, (x, *made.parameters()), slope)))
    for a, b in zip(*found, strict=True):
        assert (a - b).abs().max() <= 1e-6 * b.abs().max()


@pytest.mark.usefixtures("cut")
@pytest.mark.parametrize("ffn", GATES)
def test_gradients_are_the_slopes(ffn: str) -> None:
    made = layer(ffn, ffn_width=4).double()
    random = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 24, generator=random, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(made, x)
