"""Learning what people prefer from K answers that they ranked (arXiv:2203.02155, eq. 1)."""

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from jielong.objectives.loss import Loss


class RankingBatch(NamedTuple):
    """P prompts with up to K answers each, one row an answer, padded on the right.

    `ids` (N, T), `lengths` (N,) real tokens of each row, `ranks` (P, K): from 1, smaller is better,
    equal is a tie, 0 where a prompt has no further answer; rows stand in reading order of the
    positive ranks. All answers of a prompt are in one batch: their pairs are correlated, and
    spread over batches they would be overfitted in one pass.
    """

    ids: Tensor
    lengths: Tensor
    ranks: Tensor


@runtime_checkable
class RewardModel(Protocol):
    """A score (N,) for each row of right-padded `ids` (N, T) with `lengths` (N,)."""

    def rewards(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Score each row."""
        ...


def ranking_loss(model: RewardModel, batch: RankingBatch) -> Loss:
    """`k_way_loss` of a model's scores: exactly one forward row an answer."""
    scores = model.rewards(batch.ids, batch.lengths)
    table = scores.new_zeros(batch.ranks.shape)
    table[batch.ranks > 0] = scores
    return k_way_loss(table, batch.ranks)


def k_way_loss(scores: Float[Tensor, "P K"], ranks: Int[Tensor, "P K"]) -> Loss:
    """For each prompt the mean over its strict pairs of -log sigmoid(r_better - r_worse).

    `scores`, `ranks` (P, K), rank 0 for no answer. Ties are dropped and the mean is over the pairs
    that remain (without ties: the paper's 1 / C(K, 2)). A prompt with ties only counts neither in
    the sum nor in `items`. The metric `accuracy` is the share of pairs in the right order, score
    ties one half.
    """
    # (P, K, K): i is ranked above j, and both are answers
    better = (ranks[:, :, None] < ranks[:, None, :]) & (ranks[:, :, None] > 0)
    pairs = better.sum(dim=(1, 2))
    margins = scores[:, :, None] - scores[:, None, :]
    per_pair = -F.logsigmoid(margins) * better
    has_pairs = pairs > 0
    weight = has_pairs / pairs.clamp(min=1)
    right = ((margins > 0).float() + 0.5 * (margins == 0)) * better
    return Loss(
        (per_pair.sum(dim=(1, 2)) * weight).sum(),
        has_pairs.sum().float(),
        {"accuracy": (right.sum(dim=(1, 2)) * weight).sum().detach()},
    )


def pair_accuracy(scores: Float[Tensor, "P K"], ranks: Int[Tensor, "P K"]) -> Float[Tensor, ""]:
    """The share of strict pairs in the right order, averaged over prompts, ()."""
    with torch.no_grad():
        loss = k_way_loss(scores, ranks)
    return loss.metrics["accuracy"] / loss.items.clamp(min=1)
