"""Learning what people prefer from K answers that they ranked (arXiv:2203.02155, eq. 1)."""

from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from jielong.objectives.loss import Loss


class RankingBatch(NamedTuple):
    """P prompts with up to K answers each, one row an answer, padded on the right.

    `ids` (N, T), `lengths` (N,) real tokens of each row, `ranks` (P, A, K) by up to A annotators:
    from 1, smaller is better, equal is a tie, 0 where an annotator left an answer out or there is
    none. Rows stand in reading order of the answers that anybody ranked. All answers of a prompt
    are in one batch: their pairs are correlated, and spread over batches they would be overfitted
    in one pass.
    """

    ids: Tensor
    lengths: Tensor
    ranks: Tensor

    def portions(self, most: int) -> "list[RankingBatch]":
        """The same in pieces of at most `most` prompts, each with all of its rows."""
        rows = (self.ranks > 0).any(dim=1).sum(dim=1)
        counts = [int(piece.sum()) for piece in rows.split(most)]
        pieces = (self.ids.split(counts), self.lengths.split(counts), self.ranks.split(most))
        return [RankingBatch(*piece) for piece in zip(*pieces, strict=True)]


@runtime_checkable
class RewardModel(Protocol):
    """A score (N,) for each row of right-padded `ids` (N, T) with `lengths` (N,)."""

    def rewards(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Score each row."""
        ...


def ranking_loss(model: RewardModel, batch: RankingBatch) -> Loss:
    """`k_way_loss` of a model's scores: exactly one forward row an answer."""
    scores = model.rewards(batch.ids, batch.lengths)
    ranked = (batch.ranks > 0).any(dim=1)
    table = scores.new_zeros(ranked.shape)
    table[ranked] = scores
    return k_way_loss(table, batch.ranks)


def k_way_loss(scores: Float[Tensor, "P K"], ranks: Int[Tensor, "P A K"]) -> Loss:
    """For each prompt and annotator the mean over strict pairs of -log sigmoid(r_better - r_worse).

    `scores` (P, K); `ranks` (P, A, K), rank 0 for no answer. Ties are dropped and the mean is over
    the pairs that remain (without ties: the paper's 1 / C(K, 2)). A prompt's term is the mean over
    its annotators who ordered any pair, so that each prompt weighs the same; one without any counts
    neither in the sum nor in `items`. The metric `accuracy` is the share of pairs in the right
    order, score ties one half.
    """
    # (P, A, K, K): i is ranked above j, and both are answers
    better = (ranks[..., :, None] < ranks[..., None, :]) & (ranks[..., :, None] > 0)
    pairs = better.sum(dim=(2, 3))
    judges = (pairs > 0).sum(dim=1)
    weight = 1 / (pairs.clamp(min=1) * judges[:, None].clamp(min=1))
    margins = (scores[:, :, None] - scores[:, None, :])[:, None]
    per_pair = -F.logsigmoid(margins) * better
    right = ((margins > 0).float() + 0.5 * (margins == 0)) * better
    return Loss(
        (per_pair.sum(dim=(2, 3)) * weight).sum(),
        (judges > 0).sum().float(),
        {"accuracy": (right.sum(dim=(2, 3)) * weight).sum().detach()},
    )
