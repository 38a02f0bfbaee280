"""Our Muon and our use of AdamW against the optimizers of torch."""

import pytest
import torch

from jielong.training.learner import Learner, Part
from jielong.training.muon import Muon
from jielong.training.optimizers import OptimizerConfig, Schedule, make_optimizers
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
