import pytest
import torch

from jielong.core.errors import ConfigError, TrainingDivergedError
from jielong.objectives.language_model import TokenBatch, next_token_loss
from jielong.objectives.loss import Loss
from jielong.training.learner import Learner, Part
from jielong.training.optimizers import Schedule
from jielong.training.precision import FIRST_SCALE, INTERVAL, Precision, precision_on
from tests.tiny import decoder, random_ids


def learner(name: str, **changes: object) -> Learner:
    """One in a precision that recipes allow on a GPU only."""
    model = decoder(**changes)
    made = Learner(model, [torch.optim.SGD(model.parameters(), lr=0.1)], Schedule(9), clip=0.0)
    made.precision = Precision(name, "cpu")
    return made


def part(seed: int = 0) -> Part:
    ids = random_ids(4, 9, seed=seed)
    return Part([TokenBatch(ids, torch.ones_like(ids, dtype=torch.bool))], next_token_loss)


@pytest.mark.parametrize("name", ["bf16", "fp16"])
def test_a_cpu_is_not_asked_for_half_width(name: str) -> None:
    with pytest.raises(ConfigError, match=f"training.precision: '{name}': a CPU trains in 'fp32'"):
        precision_on(name, torch.device("cpu"))
    assert precision_on("fp32", torch.device("cpu")).dtype is None
    assert precision_on(name, torch.device("cuda")).device == "cuda"


@pytest.mark.parametrize(
    ("name", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16), ("fp32", torch.float32)]
)
@pytest.mark.parametrize(
    "changes", [{}, {"norm": "layer", "positions": "learned", "tied": False}], ids=["rms", "layer"]
)
def test_products_are_half_as_wide_and_all_that_is_kept_is_not(
    name: str, dtype: torch.dtype, changes: dict
) -> None:
    made, seen = learner(name, **changes), []
    layer = made.module.blocks[0].feed_forward.down
    layer.register_forward_hook(lambda _module, _input, output: seen.append(output.dtype))
    metrics = made.update(part())
    assert seen == [dtype]
    assert all(p.dtype == torch.float32 for p in made.module.parameters())
    assert metrics["loss"] > 0


@pytest.mark.parametrize("name", ["bf16", "fp16"])
def test_the_step_is_the_one_of_full_width_but_for_rounding(name: str) -> None:
    """bfloat16 has eight bits: the whole gradient is off by a few hundredths at most."""
    results = []
    for each in ("fp32", name):
        made = learner(each)
        if made.precision.scales:
            made.precision.scale = 256.0  # what it would have come down to
        before = torch.cat([p.detach().flatten() for p in made.module.parameters()])
        metrics = made.update(part())
        after = torch.cat([p.detach().flatten() for p in made.module.parameters()])
        results.append((after - before, metrics["loss"], metrics["gradient_norm"]))
    (full, loss, norm), (half, half_loss, half_norm) = results
    assert (half - full).norm() < 0.05 * full.norm()
    assert half_loss == pytest.approx(loss, rel=0.01)
    assert half_norm == pytest.approx(norm, rel=0.03)
    assert not torch.equal(half, full)


def tiny(module: torch.nn.Module, factor: float) -> Loss:
    """A loss whose gradient is `factor` everywhere, by way of float16."""
    total = sum((p.half().float() * factor).sum() for p in module.parameters())
    return Loss(total, torch.tensor(1.0))


def test_the_scale_saves_small_gradients() -> None:
    """2^-27 is nothing in float16 and 2^-11 is something; the step sees it unscaled."""
    for name, expected in (("fp16", 2.0**-27), ("bf16", 0.0)):
        made = learner(name)
        before = made.module.norm.weight.clone()
        made.optimizers[0].param_groups[0]["peak_lr"] = 2.0**20
        made.update(Part([2.0**-27], tiny))
        moved = before - made.module.norm.weight.detach()
        torch.testing.assert_close(moved, torch.full_like(moved, expected * 2**20))


def test_an_overflow_skips_the_step_and_halves_the_scale() -> None:
    made = learner("fp16")
    before = {name: t.clone() for name, t in made.module.state_dict().items()}
    metrics = made.update(Part([2.0], tiny))  # 2 * 2^16 is beyond 65504
    assert metrics["skipped"] == 1
    assert metrics["loss_scale"] == made.precision.scale == FIRST_SCALE / 2
    assert made.step == 1
    assert all(torch.equal(before[n], t) for n, t in made.module.state_dict().items())
    assert not made.optimizers[0].state
    assert made.precision.good_steps == 0
    metrics = made.update(Part([0.5], tiny))
    assert "skipped" not in metrics
    assert (made.step, made.precision.good_steps) == (2, 1)


def test_a_gradient_that_no_scale_can_mend_ends_the_run() -> None:
    made = learner("fp16")
    for _ in range(16):
        metrics = made.update(Part([float("inf")], tiny))
        assert metrics["skipped"] == 1
        assert "loss" not in metrics  # it says nothing, and is no sign that the run diverges
    assert made.precision.scale == 1
    with pytest.raises(TrainingDivergedError):
        made.update(Part([float("inf")], tiny))
    with pytest.raises(TrainingDivergedError):  # nothing is scaled there
        learner("bf16").update(Part([float("inf")], tiny))


def test_many_good_steps_double_the_scale() -> None:
    precision = Precision("fp16", "cpu")
    for _ in range(INTERVAL - 1):
        precision.step_was_good()
    assert precision.scale == FIRST_SCALE
    precision.step_was_good()
    assert precision.scale == 2 * FIRST_SCALE
    wide = Precision("fp32", "cpu")
    wide.step_was_good()
    assert (wide.scale, wide.good_steps) == (1, 0)
