import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from jielong.model import readout
from jielong.model.readout import surprisal
from tests.tiny import decoder, random_ids


@pytest.fixture(params=["at once", "three positions at a time"])
def cut(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "at once":
        monkeypatch.setattr(readout, "SIZE", 3 * 11)


def given(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Ten states of six channels, eleven words, ten targets."""
    random = torch.Generator().manual_seed(0)
    states = torch.randn(10, 6, generator=random, dtype=dtype, requires_grad=True)
    weight = torch.randn(11, 6, generator=random, dtype=dtype, requires_grad=True)
    return states, weight, torch.randint(11, (10,), generator=random)


def in_place_product(_total: object, left: tuple, right: tuple, **_options: object) -> int:
    """What PyTorch's counter of operations does not know: `addmm_`, given the shapes."""
    return 2 * left[0] * left[1] * right[1]


def test_by_hand() -> None:
    """Scores log 1, log 2, log 5: the second has probability 2 / 8."""
    weight = torch.tensor([[1.0], [2.0], [5.0]]).log()
    found = surprisal(torch.ones(1, 1), weight, torch.tensor([1]))
    assert math.isclose(found.item(), math.log(4), rel_tol=1e-6)


@pytest.mark.usefixtures("cut")
def test_it_is_the_cross_entropy_of_the_scores() -> None:
    """Value and gradients to 1e-6 of the largest, in single precision, however scaled."""
    states, weight, targets = given(torch.float32)
    expected = F.cross_entropy(F.linear(states, weight), targets, reduction="sum")
    found = surprisal(states, weight, targets)
    pairs = [(found, expected)]
    for scale in (1.0, 0.25):
        slopes = [
            torch.autograd.grad(scale * total, (states, weight), retain_graph=True)
            for total in (found, expected)
        ]
        pairs += zip(*slopes, strict=True)
    for a, b in pairs:
        assert (a - b).abs().max() <= 1e-6 * b.abs().max()


@pytest.mark.usefixtures("cut")
def test_gradients_are_the_slopes() -> None:
    states, weight, targets = given(torch.float64)
    assert torch.autograd.gradcheck(surprisal, (states, weight, targets))


@pytest.mark.parametrize(
    ("states_learn", "weight_learns", "products"),
    [(True, True, 3), (True, False, 2), (False, True, 2), (False, False, 1)],
)
def test_what_takes_no_gradient_costs_no_product(
    states_learn: bool, weight_learns: bool, products: int
) -> None:
    """As the frozen embedding under adapters."""
    states, weight, targets = given(torch.float32)
    states.requires_grad_(states_learn)
    weight.requires_grad_(weight_learns)
    added = {torch.ops.aten.addmm_: in_place_product}
    with FlopCounterMode(display=False, custom_mapping=added) as counter:
        total = surprisal(states, weight, targets)
        if total.requires_grad:
            total.backward()
    assert counter.get_total_flops() == products * 2 * 10 * 11 * 6
    assert (states.grad is None, weight.grad is None) == (not states_learn, not weight_learns)


def test_a_target_that_is_all_but_impossible_has_a_finite_surprisal() -> None:
    """Its probability, e^-200, is no single-precision number; -log of it is."""
    weight = torch.tensor([[0.0], [200.0]])
    assert surprisal(torch.ones(1, 1), weight, torch.tensor([0])).item() == 200


def test_nothing_to_predict_is_no_surprise() -> None:
    states = torch.ones(0, 6, requires_grad=True)
    weight = torch.ones(11, 6, requires_grad=True)
    total = surprisal(states, weight, torch.zeros(0, dtype=torch.long))
    total.backward()
    assert total.item() == 0
    assert weight.grad is not None
    assert weight.grad.abs().sum() == 0


@pytest.mark.parametrize("tied", [True, False])
def test_a_model_tells_the_surprisal_of_the_positions_asked_for(tied: bool) -> None:
    model, ids, targets = decoder(tied=tied), random_ids(3, 8), random_ids(3, 8, seed=1)
    for select in (torch.ones(3, 8, dtype=torch.bool), ids > 9):
        logp = model(ids).log_softmax(-1).gather(-1, targets[..., None])[..., 0]
        found = model.surprisal(ids, targets[select], select=select)
        torch.testing.assert_close(found, -logp[select].sum())


def test_mixed_precision_goes_by_the_scores() -> None:
    """On a device that multiplies in bfloat16 by itself the scores are made in it, as elsewhere."""
    states, weight, targets = given(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = surprisal(states, weight, targets)
    torch.testing.assert_close(rough, surprisal(states, weight, targets), rtol=0.02, atol=0)
    assert rough.item() != surprisal(states, weight, targets).item()
