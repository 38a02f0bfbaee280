"""Our Muon and our use of AdamW against the optimizers of torch."""

import pytest
import torch

from jielong.training.average import WeightAverage
from jielong.training.learner import Learner, Part
from jielong.training.muon import Muon
from jielong.training.optimizers import OptimizerConfig, Schedule, make_optimizers
from jielong.training.precision import Precision
from tests.tiny import decoder, random_ids

pytestmark = pytest.mark.parity


def random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(16, 16), (12, 20), (20, 12)])
def test_muon_takes_torchs_steps(shape: tuple[int, int]) -> None:
    """Theirs multiplies in bfloat16, so a step of length about 1 may differ by some hundredths."""
    ours, theirs = (torch.nn.Parameter(random(*shape, seed=0)) for _ in range(2))
    settings = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.2}
    optimizers = [Muon([ours], **settings), torch.optim.Muon([theirs], **settings)]
    for step in range(4):
        before = ours.detach().clone()
        for parameter, optimizer in zip((ours, theirs), optimizers, strict=True):
            parameter.grad = random(*shape, seed=1 + step)
            optimizer.step()
        moved, apart = (ours - before).norm(), (ours - theirs).norm()
        assert apart < 0.03 * (step + 1) * moved
        assert moved > 0.1


def test_adamw_with_its_schedule_and_clipping_takes_torchs_steps() -> None:
    """Ten steps beside plain torch: clip_grad_norm_, LambdaLR, AdamW."""
    from jielong.objectives.language_model import TokenBatch, next_token_loss

    config = OptimizerConfig(
        lr=0.01, weight_decay=0.1, clip=0.5, warmup_steps=4, warmup_from=0.1, decay_share=0.5
    )
    rates = [0.325, 0.55, 0.775, 1, 1, 1, 0.8, 0.6, 0.4, 0.2]
    ours, theirs = decoder(), decoder()
    learner = Learner(ours, make_optimizers(ours, config), Schedule.of(config, 10), 0.5)
    groups = [
        {"params": [p for p in theirs.parameters() if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in theirs.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    adam = torch.optim.AdamW(groups, lr=0.01, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: rates[min(step, 9)])
    for step in range(10):
        ids = random_ids(4, 9, seed=step)
        batch = TokenBatch(ids, torch.ones_like(ids, dtype=torch.bool))
        metrics = learner.update(Part([batch], next_token_loss))
        assert metrics["lr"] == pytest.approx(0.01 * rates[step])
        adam.zero_grad()
        scores = theirs(ids[:, :-1]).flatten(0, 1)
        torch.nn.functional.cross_entropy(scores, ids[:, 1:].flatten()).backward()
        norm = torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
        assert metrics["gradient_norm"] == pytest.approx(norm.item(), rel=1e-4)
        adam.step()
        schedule.step()
    for (name, one), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize(
    ("settings", "cls", "theirs"),
    [
        ({"kind": "sgd"}, torch.optim.SGD, {"lr": 0.1}),
        ({"kind": "momentum"}, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
        (
            {"kind": "momentum", "momentum": 0.7, "nesterov": True},
            torch.optim.SGD,
            {"lr": 0.1, "momentum": 0.7, "nesterov": True},
        ),
        ({"kind": "adam", "beta1": 0.8}, torch.optim.Adam, {"lr": 0.1, "betas": (0.8, 0.95)}),
        ({"kind": "adamw", "eps": 1e-3}, torch.optim.AdamW, {"eps": 1e-3, "betas": (0.9, 0.95)}),
    ],
    ids=["sgd", "momentum", "nesterov", "adam", "adamw"],
)
def test_each_kind_takes_torchs_steps(settings: dict, cls: type, theirs: dict) -> None:
    """Theirs parameter by parameter, without fused kernels."""
    ours, other = torch.nn.Linear(4, 3), torch.nn.Linear(4, 3)
    other.load_state_dict(ours.state_dict())
    config = OptimizerConfig(lr=0.1, weight_decay=0.2, **settings)
    (optimizer,) = make_optimizers(ours, config)
    groups = [
        {"params": [other.weight], "weight_decay": 0.2},
        {"params": [other.bias], "weight_decay": 0.0},
    ]
    reference = cls(groups, **{"lr": 0.1} | theirs, foreach=False)
    for step in range(5):
        for one in (ours, other):
            one.weight.grad, one.bias.grad = random(3, 4, seed=step), random(3, seed=step + 9)
        optimizer.step()
        reference.step()
    torch.testing.assert_close(ours.weight, other.weight)
    torch.testing.assert_close(ours.bias, other.bias)


@pytest.mark.parametrize("shape", ["linear", "cosine", "wsd"])
def test_a_schedule_is_torchs(shape: str) -> None:
    """Warm-up of 4 steps from a tenth, then 12 down to a fifth (wsd: over the last 8 of them)."""
    from torch.optim import lr_scheduler as theirs

    flat, cool = (4, 8) if shape == "wsd" else (0, 12)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    parts = [theirs.LinearLR(optimizer, 0.1 + 0.9 / 4, 1.0, total_iters=3)]
    parts += [theirs.ConstantLR(optimizer, 1.0, total_iters=flat)] if flat else []
    if shape == "cosine":
        parts.append(theirs.CosineAnnealingLR(optimizer, cool, eta_min=0.2))
    else:
        parts.append(theirs.LinearLR(optimizer, 1.0, 0.2, total_iters=cool))
    ends = [4, 4 + flat] if flat else [4]
    schedule = theirs.SequentialLR(optimizer, parts, ends)
    ours = Schedule(16, 4, 0.1, 0.5 if shape == "wsd" else 0.0, 0.2, shape)
    for step in range(16):
        assert ours(step) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-6), step
        optimizer.step()
        schedule.step()


def test_the_average_of_weights_is_torchs() -> None:
    """Theirs with the same shares: they let a user give the rule, and the number before it."""
    from torch.optim.swa_utils import AveragedModel

    def rule(mean, now, number):
        return mean + (now - mean) * (0.1 / (1 - 0.9 ** (number + 1)))

    model = torch.nn.Linear(4, 3)
    ours, theirs = WeightAverage(model, 0.9), AveragedModel(model, avg_fn=rule)
    for step in range(6):
        with torch.no_grad():
            model.weight.copy_(random(3, 4, seed=step))
        ours.update()
        theirs.update_parameters(model)
    with ours.in_place():
        torch.testing.assert_close(model.weight, theirs.module.weight)


def test_after_long_training_the_average_is_torchs_own() -> None:
    """Once the first weights no longer count, the correction does not either."""
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    model = torch.nn.Linear(4, 3)
    ours = WeightAverage(model, 0.9)
    theirs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    for step in range(250):
        with torch.no_grad():
            model.weight.copy_(random(3, 4, seed=step))
        ours.update()
        theirs.update_parameters(model)
    with ours.in_place():
        torch.testing.assert_close(model.weight, theirs.module.weight)


def test_the_scale_of_the_loss_moves_as_torchs_scaler() -> None:
    """Through overflows, alone and in a row, and a growth after each 2000 good steps."""
    overflows = {3, 4, 2500, 2501, 2502, 4700}
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.0)
    scaler, ours = torch.amp.GradScaler("cpu"), Precision("fp16", "cpu")
    for step in range(7000):
        assert ours.scale == scaler.get_scale(), step
        bad = step in overflows
        parameter.grad = scaler.scale(torch.tensor([float("inf") if bad else 1.0]))
        scaler.step(optimizer)
        scaler.update()
        if bad:
            assert ours.absorb_overflow()
        else:
            ours.step_was_good()
    assert ours.scale > 0
