import re

import pytest
import torch

from jielong.training.muon import Muon
from jielong.training.optimizers import OptimizerConfig, Schedule, make_optimizers
from tests.tiny import decoder, scalar_model


def table(schedule: Schedule) -> list[float]:
    return [schedule(step) for step in range(schedule.steps)]


def test_L6_the_rate_by_hand() -> None:
    """Four steps up from a tenth, flat, then five steps down towards a fifth."""
    schedule = Schedule(steps=10, warmup_steps=4, warmup_from=0.1, decay_share=0.5, final_share=0.2)
    expected = [0.325, 0.55, 0.775, 1.0, 1.0, 1.0, 0.84, 0.68, 0.52, 0.36]
    assert table(schedule) == pytest.approx(expected)


def test_the_rate_without_warm_up_or_decay_is_constant() -> None:
    assert table(Schedule(3)) == [1, 1, 1]
    assert table(Schedule(3, warmup_steps=2)) == [0.5, 1, 1]
    assert table(Schedule(4, decay_share=1.0)) == [1, 0.75, 0.5, 0.25]


def test_a_schedule_takes_its_numbers_from_the_configuration() -> None:
    config = OptimizerConfig(
        lr=1.0, warmup_steps=1, warmup_from=0.2, decay_share=0.3, final_share=0.4
    )
    assert Schedule.of(config, 7) == Schedule(7, 1, 0.2, 0.3, 0.4)
    cosine = OptimizerConfig(lr=1.0, schedule="cosine", final_share=0.5)
    assert Schedule.of(cosine, 7) == Schedule(7, final_share=0.5, shape="cosine")


def test_the_linear_rate_by_hand() -> None:
    """Two steps up, then from 1 towards a fifth in five steps: 0.16 a step."""
    schedule = Schedule(7, warmup_steps=2, final_share=0.2, shape="linear")
    assert table(schedule) == pytest.approx([0.5, 1.0, 1.0, 0.84, 0.68, 0.52, 0.36])


def test_the_cosine_rate_by_hand() -> None:
    """cos of 0, 60, 120 degrees; and half of what is left above the final share."""
    assert table(Schedule(3, shape="cosine")) == pytest.approx([1, 0.75, 0.25])
    half = Schedule(4, warmup_steps=1, final_share=0.5, shape="cosine")
    assert table(half) == pytest.approx([1, 1, 0.875, 0.625])


def test_a_run_shorter_than_its_warm_up_has_a_rate_all_the_same() -> None:
    for shape in ("wsd", "linear", "cosine"):
        assert table(Schedule(2, warmup_steps=4, shape=shape)) == [0.25, 0.5]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": -1.0}, "lr: -1.0: must not be negative"),
        ({"lr": float("nan")}, "lr: nan: must be finite"),
        ({"clip": float("inf")}, "clip: inf: must be finite"),
        ({"warmup_steps": -1}, "warmup_steps: -1: must not be negative"),
        ({"beta2": 1.0}, "beta2: 1.0: must be at least 0 and below 1"),
        ({"beta1": float("nan")}, "beta1: nan: must be at least 0 and below 1"),
        ({"momentum": 1.5}, "momentum: 1.5: must be at least 0 and below 1"),
        ({"muon_momentum": -0.1}, "muon_momentum: -0.1: must be at least 0 and below 1"),
        ({"decay_share": 1.1}, "decay_share: 1.1: must lie between 0 and 1"),
        ({"final_share": -0.1}, "final_share: -0.1: must lie between 0 and 1"),
        ({"warmup_from": 2.0}, "warmup_from: 2.0: must lie between 0 and 1"),
        ({"nesterov": True}, "nesterov: true: is for the kind 'momentum'"),
        ({"nesterov": True, "kind": "momentum", "momentum": 0.0}, "nesterov: true: is for"),
        ({"schedule": "cosine", "decay_share": 0.5}, "decay_share: 0.5: the schedule 'cosine'"),
    ],
)
def test_settings_that_cannot_train_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        OptimizerConfig(**{"lr": 0.1} | settings)


def test_every_parameter_is_moved_by_exactly_one_optimizer() -> None:
    for model in (decoder(), decoder(tied=False), scalar_model()):
        for kind in ("sgd", "momentum", "adam", "adamw", "muon"):
            optimizers = make_optimizers(model, OptimizerConfig(kind=kind, lr=0.1))
            held = [p for o in optimizers for group in o.param_groups for p in group["params"]]
            assert len(held) == len({id(p) for p in held}) == len(list(model.parameters()))


def test_muon_moves_the_matrices_of_the_blocks_and_nothing_else() -> None:
    model = decoder(tied=False)
    config = OptimizerConfig(kind="muon", lr=0.1, muon_lr=0.7, weight_decay=0.3)
    adam, muon = make_optimizers(model, config)
    assert isinstance(muon, Muon)
    names = {id(p): name for name, p in model.named_parameters()}
    in_muon = {names[id(p)] for p in muon.param_groups[0]["params"]}
    matrices = ("attention.qkv", "attention.output", "feed_forward.gate_up", "feed_forward.down")
    assert in_muon == {f"blocks.{i}.{name}.weight" for i in (0, 1) for name in matrices}
    assert (muon.param_groups[0]["lr"], muon.param_groups[0]["weight_decay"]) == (0.7, 0.3)
    decayed, plain = adam.param_groups
    assert {names[id(p)] for p in decayed["params"]} == {"embedding.weight", "head.weight"}
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.3, 0.0)
    assert all(p.ndim == 1 for p in plain["params"])


def test_frozen_parameters_are_left_out() -> None:
    model = decoder().requires_grad_(False)
    model.embedding.requires_grad_(True)
    (adam,) = make_optimizers(model, OptimizerConfig(lr=0.1))
    held = [p for group in adam.param_groups for p in group["params"]]
    assert len(held) == 1
    assert held[0] is model.embedding.weight


def test_L6_adamw_by_hand() -> None:
    """First step: m = g/(1-b1)(1-b1) = g, v = g^2; w <- (1 - lr d) w - lr g / (|g| + eps)."""
    module = torch.nn.Linear(1, 2, bias=True)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[1.0], [2.0]]))
        module.bias.zero_()
    (adam,) = make_optimizers(module, OptimizerConfig(lr=0.1, weight_decay=0.5, eps=1.0))
    module.weight.grad = torch.tensor([[3.0], [-1.0]])
    module.bias.grad = torch.tensor([1.0, 0.0])
    adam.step()
    expected = torch.tensor([[0.95 * 1 - 0.1 * 3 / 4], [0.95 * 2 + 0.1 * 1 / 2]])
    torch.testing.assert_close(module.weight.detach(), expected)
    torch.testing.assert_close(module.bias.detach(), torch.tensor([-0.05, 0.0]))  # not decayed


def moved(kind: str, gradients: list[float], **settings: object) -> list[float]:
    """Where one weight, 1 at first, is after each step with these gradients."""
    module = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.ones_(module.weight)
    (optimizer,) = make_optimizers(module, OptimizerConfig(kind=kind, lr=0.5, **settings))
    found = []
    for gradient in gradients:
        module.weight.grad = torch.tensor([[gradient]])
        optimizer.step()
        found.append(module.weight.item())
    return found


def test_sgd_by_hand() -> None:
    """w <- w - lr (g + d w); the momentum of its settings is not its own."""
    assert moved("sgd", [1.0, 1.0]) == pytest.approx([0.5, 0.0])
    assert moved("sgd", [1.0, 1.0], weight_decay=0.2) == pytest.approx([0.4, -0.14])


def test_momentum_by_hand() -> None:
    """b <- m b + g, w <- w - lr b; Nesterov's goes on to g + m b."""
    assert moved("momentum", [1.0, 0.0], momentum=0.5) == pytest.approx([0.5, 0.25])
    ahead = moved("momentum", [1.0, 0.0], momentum=0.5, nesterov=True)
    assert ahead == pytest.approx([1 - 0.75, 1 - 0.75 - 0.125])


def test_adam_by_hand() -> None:
    """First step: lr g / (|g| + eps), the decay's gradient included: it is no decay of its own."""
    assert moved("adam", [3.0], eps=1.0) == pytest.approx([1 - 0.5 * 3 / 4])
    assert moved("adam", [0.0], eps=1.0, weight_decay=3.0) == pytest.approx([1 - 0.5 * 3 / 4])
    assert moved("adamw", [0.0], eps=1.0, weight_decay=3.0) == pytest.approx([1 - 0.5 * 3])


def test_muons_momentum_is_as_asked() -> None:
    config = OptimizerConfig(kind="muon", lr=0.1, muon_momentum=0.7)
    _, muon = make_optimizers(decoder(), config)
    assert muon.param_groups[0]["momentum"] == 0.7
