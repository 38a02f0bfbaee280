import pytest
import torch
from torch import nn

from jielong.training.average import WeightAverage


def module(*, frozen: bool = False) -> nn.Linear:
    made = nn.Linear(2, 1)
    made.bias.requires_grad_(not frozen)
    return made


def follow(decay: float, values: list[float]) -> tuple[nn.Linear, WeightAverage]:
    """The average of a weight that took these values after the steps."""
    made = module()
    average = WeightAverage(made, decay)
    for value in values:
        nn.init.constant_(made.weight, value)
        average.update()
    return made, average


def test_the_average_by_brute_force() -> None:
    """Weights of the last five steps, each d times that of the next, in proportion."""
    values, decay = [1.0, -2.0, 4.0, 0.5, 3.0], 0.7
    made, average = follow(decay, values)
    shares = [decay ** (4 - i) for i in range(5)]
    expected = sum(s * v for s, v in zip(shares, values, strict=True)) / sum(shares)
    with average.in_place():
        torch.testing.assert_close(made.weight.detach(), torch.full((1, 2), expected))


def test_where_training_began_is_in_no_average() -> None:
    made, average = follow(0.999, [5.0])
    with average.in_place():
        assert made.weight.tolist() == [[5, 5]]


def test_the_last_weights_come_back_bit_for_bit() -> None:
    torch.manual_seed(0)
    made = module()
    average = WeightAverage(made, 0.9)
    for _ in range(3):
        nn.init.normal_(made.weight)
        average.update()
    before = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    for _ in range(2):
        with average.in_place():
            assert not torch.equal(made.weight, before["weight"])
            inside = made.weight.clone()
    assert all(torch.equal(made.state_dict()[name], before[name]) for name in before)
    with average.in_place():
        assert torch.equal(made.weight, inside)


def test_the_last_weights_come_back_after_an_error_too() -> None:
    made, average = follow(0.5, [1.0, 2.0])
    with pytest.raises(KeyboardInterrupt), average.in_place():
        raise KeyboardInterrupt
    assert made.weight.tolist() == [[2, 2]]


def test_frozen_weights_are_not_kept_twice() -> None:
    assert WeightAverage(module(frozen=True), 0.5).to_tensors().keys() == {"updates", "weight"}


def test_an_average_goes_on_where_it_was() -> None:
    made, average = follow(0.9, [1.0, 2.0])
    again_made = module()
    again = WeightAverage(again_made, 0.9)
    again.from_tensors({name: t.clone() for name, t in average.to_tensors().items()})
    for one, mean in ((made, average), (again_made, again)):
        nn.init.constant_(one.weight, 7.0)
        mean.update()
    one, other = average.to_tensors(), again.to_tensors()
    assert torch.equal(one["weight"], other["weight"])
    assert one["updates"] == other["updates"] == 3
