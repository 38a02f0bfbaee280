import copy
import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from jielong.core.errors import DataError, TrainingDivergedError
from jielong.objectives.loss import Loss
from jielong.training.learner import Learner, Part
from jielong.training.optimizers import OptimizerConfig, Schedule, make_optimizers


class Weights(nn.Module):
    """Two numbers to be moved, and one to be left alone."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([1.0, 2.0]))
        self.frozen = nn.Parameter(torch.tensor([5.0]), requires_grad=False)


def linear(module: Weights, batch: Tensor) -> Loss:
    """The sum over rows (N, 2) of row . w, N items: its gradient is the mean row."""
    rows = batch @ module.w
    extra = {"share": (batch[:, 0] > 1).sum(), "row_max": batch.max()}
    return Loss(rows.sum(), torch.tensor(float(len(batch))), extra)


def sgd(module: nn.Module, lr: float = 1.0, **settings: float) -> Learner:
    optimizer = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], lr=lr)
    return Learner(module, [optimizer], Schedule(100), **{"clip": 0.0} | settings)


def adam(module: nn.Module) -> Learner:
    config = OptimizerConfig(lr=0.1, weight_decay=0.1)
    return Learner(module, make_optimizers(module, config), Schedule(100, warmup_steps=4), 1.0)


def part(*rows: Sequence[Sequence[float]], **settings: object) -> Part:
    return Part([torch.tensor(r) for r in rows], linear, **settings)


def test_one_step_by_hand() -> None:
    """Rows (1, 0), (2, 0), (3, 3) in two micro-batches: mean row (2, 1), mean loss 4."""
    learner = sgd(Weights(), lr=0.5)
    metrics = learner.update(part([[1.0, 0.0]], [[2.0, 0.0], [3.0, 3.0]]))
    assert learner.module.w.tolist() == [1 - 0.5 * 2, 2 - 0.5 * 1]
    assert learner.step == 1
    assert metrics == pytest.approx(
        {
            "loss": (1 + 2 + 9) / 3,
            "items": 3,
            "share": 2 / 3,
            "row_max": 3,
            "gradient_norm": 5**0.5,
            "lr": 0.5,
        }
    )
    assert learner.module.w.grad is None


def test_parts_are_divided_by_their_own_counts_and_weighed() -> None:
    learner = sgd(Weights())
    metrics = learner.update(
        part([[2.0, 0.0], [4.0, 0.0]]),
        part([[0.0, 3.0]], weight=0.5, name="ptx"),
    )
    assert learner.module.w.tolist() == [1 - 3, 2 - 0.5 * 3]
    assert metrics["own_gradient_norm"] == 3
    assert metrics["ptx_own_gradient_norm"] == 3  # before its weight
    assert metrics["gradient_norm"] == pytest.approx((9 + 2.25) ** 0.5)
    assert (metrics["items"], metrics["ptx_items"], metrics["ptx_loss"]) == (2, 1, 6)


def test_a_single_part_is_weighed_too() -> None:
    learner = sgd(Weights())
    learner.update(part([[2.0, 0.0]], weight=0.5))
    assert learner.module.w.tolist() == [1 - 1, 2]


def test_gradients_beyond_the_limit_are_shortened() -> None:
    learner = sgd(Weights(), clip=1.0)
    metrics = learner.update(part([[3.0, 4.0]]))
    assert metrics["gradient_norm"] == 5
    torch.testing.assert_close(learner.module.w.detach(), torch.tensor([1 - 0.6, 2 - 0.8]))


class Two(nn.Module):
    """Two networks of one number each."""

    def __init__(self) -> None:
        super().__init__()
        self.policy, self.value = (nn.Linear(1, 1, bias=False) for _ in range(2))
        for network in (self.policy, self.value):
            nn.init.zeros_(network.weight)


def test_networks_are_clipped_each_by_its_own_norm() -> None:
    """Gradients 30 and 0.5 with limit 1: the large one does not shorten the small one."""

    def both(module: Two, batch: Tensor) -> Loss:
        return Loss(
            (30 * module.policy(batch) + 0.5 * module.value(batch)).sum(), torch.tensor(1.0)
        )

    module = Two()
    networks = {"": module.policy, "value": module.value}
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    learner = Learner(module, [optimizer], Schedule(9), 1.0, networks)
    metrics = learner.update(Part([torch.ones(1, 1)], both), part_of_nothing())
    assert module.policy.weight.item() == pytest.approx(-1, abs=1e-6)
    assert module.value.weight.item() == -0.5
    assert metrics["gradient_norm"] == pytest.approx(30)
    assert metrics["value_gradient_norm"] == pytest.approx(0.5)
    assert metrics["own_gradient_norm"] == pytest.approx(30)  # of the first network alone


def part_of_nothing() -> Part:
    """A term whose gradient is zero."""
    return Part(
        [torch.ones(1, 1)],
        lambda module, batch: Loss(0 * module.policy(batch).sum(), torch.tensor(1.0)),
        name="ptx",
    )


def test_the_rate_follows_the_schedule() -> None:
    module = Weights()
    optimizer = torch.optim.SGD([module.w], lr=2.0)
    learner = Learner(module, [optimizer], Schedule(4, warmup_steps=2, decay_share=0.5), 0.0)
    rates = [learner.update(part([[1.0, 0.0]]))["lr"] for _ in range(4)]
    assert rates == [1, 2, 2, 1]
    assert module.w[0].item() == 1 - sum(rates)


def bits(learner: Learner) -> dict[str, Tensor]:
    """Everything that a step may change, by name."""
    tensors = dict(learner.module.state_dict())
    for i, optimizer in enumerate(learner.optimizers):
        for j, state in optimizer.state_dict()["state"].items():
            tensors |= {f"{i}.{j}.{key}": torch.as_tensor(v) for key, v in state.items()}
    return {name: tensor.clone() for name, tensor in tensors.items()}


def same_bits(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_L7_a_vetoed_step_changes_nothing_but_the_count() -> None:
    learner = adam(Weights())
    learner.update(part([[1.0, 2.0]]))
    before, seen = bits(learner), []

    def veto(metrics: dict[str, float]) -> bool:
        seen.append(metrics)
        return metrics["share"] > 0.5

    vetoed = part([[2.0, 9.0]], veto=veto)
    metrics = learner.update(vetoed, part([[1.0, 1.0]], name="ptx"))
    assert same_bits(bits(learner), before)
    assert learner.step == 2
    assert metrics["skipped"] == 1
    assert (seen[0]["loss"], seen[0]["share"]) == (metrics["loss"], 1)
    assert learner.module.w.grad is None
    learner.update(part([[1.0, 2.0]], veto=veto))
    assert not same_bits(bits(learner), before)


def test_L7_a_later_part_may_veto_too() -> None:
    learner = adam(Weights())
    learner.update(part([[1.0, 2.0]]))
    before = bits(learner)
    learner.update(part([[5.0, 5.0]]), part([[2.0, 9.0]], name="x", veto=lambda _metrics: True))
    assert same_bits(bits(learner), before)


def test_L7_a_step_without_parts_changes_nothing_but_the_count() -> None:
    learner = adam(Weights())
    learner.update(part([[1.0, 2.0]]))
    before = bits(learner)
    assert learner.update() == {"skipped": 1.0}
    assert same_bits(bits(learner), before)
    assert learner.step == 2


def test_X1_no_weight_on_pretraining_is_no_pretraining_bit_for_bit() -> None:
    """The random numbers of what follows included."""

    def noisy(module: Weights, batch: Tensor) -> Loss:
        return linear(module, batch + torch.randn(batch.shape))

    def run(*, ptx: bool) -> tuple[dict[str, Tensor], Tensor]:
        torch.manual_seed(0)
        learner = adam(Weights())
        for _ in range(3):
            parts = [Part([torch.tensor([[1.0, 3.0]])], noisy)]
            if ptx:
                parts.append(part([[4.0, -1.0]], weight=0.0, name="ptx"))
            learner.update(*parts)
        return bits(learner), torch.rand(2)

    (with_ptx, next_with), (without, next_without) = run(ptx=True), run(ptx=False)
    assert same_bits(with_ptx, without)
    assert torch.equal(next_with, next_without)


def test_X1_the_gradient_is_linear_in_the_weight_before_clipping() -> None:
    steps = []
    for weight in (0.0, 1.0, 27.8):
        learner = sgd(Weights())
        learner.update(part([[2.0, 1.0]]), part([[4.0, -1.0]], weight=weight, name="ptx"))
        steps.append(torch.tensor([1.0, 2.0]) - learner.module.w.detach())
    torch.testing.assert_close(steps[2] - steps[0], 27.8 * (steps[1] - steps[0]))


def test_X1_one_optimizer_step_whatever_the_number_of_parts() -> None:
    learner, calls = sgd(Weights()), []
    learner.optimizers[0].register_step_post_hook(lambda *_: calls.append(1))
    learner.update(part([[1.0, 0.0]], [[1.0, 0.0]]), part([[1.0, 0.0]], name="ptx"))
    assert len(calls) == 1


def test_L8_frozen_weights_stay_and_take_no_gradient() -> None:
    def both(module: Weights, batch: Tensor) -> Loss:
        return Loss((batch @ module.w).sum() * module.frozen.sum(), torch.tensor(1.0))

    module = Weights()
    adam(module).update(Part([torch.tensor([[1.0, 2.0]])], both))
    assert module.frozen.item() == 5
    assert module.frozen.grad is None


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_moves_nothing(bad: float) -> None:
    learner = adam(Weights())
    learner.update(part([[1.0, 2.0]]))
    before = bits(learner)
    with pytest.raises(TrainingDivergedError, match="step 2: the gradient's norm is"):
        learner.update(part([[bad, 1.0]]))
    assert same_bits(bits(learner), before)
    assert learner.step == 1


def test_a_part_without_targets_is_named() -> None:
    learner = adam(Weights())
    before = copy.deepcopy(learner.module.state_dict())
    empty = Part(
        [torch.zeros(0, 2)],
        lambda module, batch: Loss((batch @ module.w).sum(), torch.tensor(0.0)),
        name="chat",
    )
    with pytest.raises(DataError, match=r"step 1: no target in the whole batch \(chat\)"):
        learner.update(empty)
    assert same_bits(before, learner.module.state_dict())


def test_a_parameter_no_part_touches_stays() -> None:
    class More(Weights):
        def __init__(self) -> None:
            super().__init__()
            self.other = nn.Parameter(torch.tensor([3.0]))

    module = More()
    sgd(module).update(part([[1.0, 1.0]]))
    assert module.other.item() == 3
