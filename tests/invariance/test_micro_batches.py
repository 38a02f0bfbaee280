"""However a batch is cut into micro-batches, the step is the same."""

import math

import pytest
import torch

from jielong.objectives.language_model import TokenBatch, next_token_loss
from jielong.objectives.preference import RankingBatch, ranking_loss
from jielong.training.learner import Learner, Part
from jielong.training.optimizers import OptimizerConfig, Schedule, make_optimizers
from jielong.training.settings import TrainingConfig
from tests.tiny import decoder, random_ids, scalar_model

pytestmark = pytest.mark.invariance

CUTS = [[8], [1] * 8, [5, 3], [1, 6, 1]]


def uneven() -> TokenBatch:
    """Eight rows with between 1 and 10 tokens that count."""
    counts = torch.arange(11) < torch.tensor([11, 2, 3, 9, 2, 5, 2, 7])[:, None]
    counts[:, 0] = False
    return TokenBatch(random_ids(8, 11), counts)


def cut(batch: tuple, sizes: list[int]) -> list:
    return [
        type(batch)(*piece)
        for piece in zip(*(t.split(sizes) for t in batch if t is not None), strict=True)
    ]


def weights_after(kind: str, sizes: list[int], steps: int = 3) -> tuple[list, list[float]]:
    """Weights and losses in double precision, where only a wrong formula makes a difference."""
    model = decoder().double()
    optimizers = make_optimizers(model, OptimizerConfig(kind=kind, lr=1e-2, weight_decay=0.1))
    learner = Learner(model, optimizers, Schedule(steps), clip=0.5)
    losses = []
    for _ in range(steps):
        metrics = learner.update(
            Part(cut(uneven(), sizes), next_token_loss),
            Part(cut(uneven(), sizes[::-1]), next_token_loss, weight=0.3, name="ptx"),
        )
        losses.append(metrics["loss"])
    return [p.detach() for p in model.parameters()], losses


@pytest.mark.parametrize("kind", ["adamw", "muon"])
@pytest.mark.parametrize("sizes", CUTS[1:])
def test_L3_1x8_is_8x1(kind: str, sizes: list[int]) -> None:
    (whole, losses), (cut_up, losses_cut) = (weights_after(kind, s) for s in (CUTS[0], sizes))
    assert losses_cut == pytest.approx(losses, rel=1e-6)
    for one, other in zip(whole, cut_up, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


@pytest.mark.parametrize("sizes", CUTS[1:])
def test_L3_1x8_is_8x1_in_single_precision(sizes: list[int]) -> None:
    results = []
    for pieces in (CUTS[0], sizes):
        model = decoder()
        learner = Learner(model, [torch.optim.SGD(model.parameters(), lr=0.1)], Schedule(1), 0.0)
        learner.update(Part(cut(uneven(), pieces), next_token_loss))
        results.append([p.detach() for p in model.parameters()])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


def test_the_loss_is_the_mean_over_tokens_not_over_micro_batches() -> None:
    """What the usual shortcut would give is far away: these masks can tell the two apart."""
    model, batch = decoder(), uneven()
    learner = Learner(model, [torch.optim.SGD(model.parameters(), lr=0.0)], Schedule(1))
    metrics = learner.update(Part(cut(batch, [1] * 8), next_token_loss))
    logp = model(batch.ids[:, :-1]).log_softmax(-1)
    nats = -logp.gather(-1, batch.ids[:, 1:, None])[..., 0].detach()
    counts = batch.counts[:, 1:]
    assert metrics["items"] == counts.sum() == 33
    assert math.isclose(metrics["loss"], nats[counts].mean().item(), rel_tol=1e-6)
    means = torch.stack([row[c].mean() for row, c in zip(nats, counts, strict=True)])
    assert abs(means.mean().item() - metrics["loss"]) > 0.01


@pytest.mark.parametrize("sizes", [[1, 1, 1, 1], [3, 1]])
def test_R1_rankings_add_up_by_prompts(sizes: list[int]) -> None:
    """Four prompts with three answers each; one of them is a tie and counts nowhere."""
    ids, lengths = random_ids(12, 9), torch.arange(12) % 9 + 1
    ranks = torch.tensor([[1, 2, 3], [2, 2, 2], [3, 1, 1], [1, 3, 2]])[:, None]
    results = []
    for pieces in ([4], sizes):
        model = scalar_model()
        learner = Learner(model, [torch.optim.SGD(model.parameters(), lr=0.1)], Schedule(1), 0.0)
        rows = [3 * size for size in pieces]
        batches = [
            RankingBatch(*piece)
            for piece in zip(ids.split(rows), lengths.split(rows), ranks.split(pieces), strict=True)
        ]
        metrics = learner.update(Part(batches, ranking_loss))
        results.append((metrics["items"], metrics["loss"], metrics["accuracy"], model))
    assert results[0][:3] == pytest.approx(results[1][:3], rel=1e-6)
    assert results[0][0] == 3
    for one, other in zip(results[0][3].parameters(), results[1][3].parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


@pytest.mark.parametrize("most", [1, 3, 7])
def test_the_learner_cuts_what_is_too_large(most: int) -> None:
    """By its setting alone, rankings too, to the same step; and no forward has more rows."""
    ranks = torch.tensor([[1, 2, 3], [2, 2, 2], [3, 1, 1], [1, 3, 2]])[:, None]
    rankings = RankingBatch(random_ids(12, 9), torch.arange(12) % 9 + 1, ranks)
    for make, batch, objective in (
        (decoder, uneven(), next_token_loss),
        (scalar_model, rankings, ranking_loss),
    ):
        results = []
        for setting in (0, most):
            model, seen = make().double(), []
            sgd = [torch.optim.SGD(model.parameters(), lr=0.1)]
            settings = TrainingConfig(micro_batch=setting)
            learner = Learner(model, sgd, Schedule(1), 0.0, training=settings)

            def loss(model, piece, objective=objective, seen=seen):
                seen.append(len(piece[-1] if piece[-1] is not None else piece[0]))
                return objective(model, piece)

            metrics = learner.update(Part([batch], loss))
            results.append((metrics["loss"], metrics["items"], seen, list(model.parameters())))
        whole, cut_up = results
        assert cut_up[:2] == pytest.approx(whole[:2], rel=1e-6)
        assert max(cut_up[2]) <= most
        assert sum(cut_up[2]) == sum(whole[2])
        for one, other in zip(whole[3], cut_up[3], strict=True):
            torch.testing.assert_close(one, other, atol=1e-6, rtol=0)
