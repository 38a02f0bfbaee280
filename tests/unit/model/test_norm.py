import pytest
import torch
from torch import nn

from jielong.model import tiles
from jielong.model.norm import RMSNorm


@pytest.fixture(params=["one tile", "many tiles"])
def cut(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "many tiles":
        monkeypatch.setattr(tiles, "SIZE", 40)


def made(size: int, dtype: torch.dtype) -> tuple[RMSNorm, nn.RMSNorm]:
    ours, torchs = RMSNorm(size, eps=1e-3).to(dtype), nn.RMSNorm(size, eps=1e-3).to(dtype)
    gain = torch.rand(size, generator=torch.Generator().manual_seed(1), dtype=dtype) + 0.5
    for norm in (ours, torchs):
        norm.load_state_dict({"weight": gain})
    return ours, torchs


def test_by_hand() -> None:
    """rms(3, 4) = sqrt(12.5); gains 1 and 2."""
    norm = RMSNorm(2, eps=0.0)
    norm.load_state_dict({"weight": torch.tensor([1.0, 2.0])})
    expected = torch.tensor([[3.0, 8.0]]) / 12.5**0.5
    torch.testing.assert_close(norm(torch.tensor([[3.0, 4.0]])), expected)


@pytest.mark.usefixtures("cut")
@pytest.mark.parametrize("shape", [(7, 8), (3, 5, 8), (2, 5, 3, 8)], ids=str)
def test_it_is_torchs(shape: tuple[int, ...]) -> None:
    """Values and gradients to 1e-6 of the largest, in single precision."""
    ours, torchs = made(8, torch.float32)
    random = torch.Generator().manual_seed(0)
    x, slope = torch.randn(2, *shape, generator=random)
    found = []
    for norm in (ours, torchs):
        given = x.clone().requires_grad_()
        y = norm(given)
        found.append((y, *torch.autograd.grad(y, (given, norm.weight), slope)))
    for a, b in zip(*found, strict=True):
        assert (a - b).abs().max() <= 1e-6 * b.abs().max()


@pytest.mark.usefixtures("cut")
def test_gradients_are_the_slopes() -> None:
    """Of a part of a larger tensor too, as queries and keys are."""
    ours, _ = made(8, torch.float64)
    random = torch.Generator().manual_seed(0)
    whole = torch.randn(2, 5, 4, 8, generator=random, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, _: ours(x[:, :, 1:3]), (whole, ours.weight))
    assert torch.autograd.gradcheck(lambda x, _: ours(x), (whole, ours.weight))


def test_elsewhere_torchs_own_kernel_does_it() -> None:
    norm, x = RMSNorm(8).to("meta"), torch.empty(2, 8, device="meta")
    assert type(norm(x).grad_fn).__name__ != "_RMSNormBackward"
