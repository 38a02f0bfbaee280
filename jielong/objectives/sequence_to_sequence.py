"""Writing one sequence after reading another: maximise sum_i log p(y_i | y_{<i}, x)."""

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional as F

from jielong.objectives.loss import Loss


class PairBatch(NamedTuple):
    """Rows of pairs, padded on the right.

    `source` (B, S) is read where `is_source` (B, S); `target` (B, T+1) begins with the token that
    opens it, and predicting a token of it counts where `counts` (B, T+1) is True.
    """

    source: Tensor
    is_source: Tensor
    target: Tensor
    counts: Tensor


@runtime_checkable
class SequenceModel(Protocol):
    """Scores (N, V) of what follows the selected positions of `target` (B, T), given `source`."""

    def __call__(
        self, source: Tensor, target: Tensor, *, is_source: Tensor, select: Tensor
    ) -> Tensor:
        """Score the selected positions."""
        ...


def pair_loss(model: SequenceModel, batch: PairBatch) -> Loss:
    """Cross-entropy in nats summed over the target's tokens that count; `right` counts the hits.

    Targets are shifted right: each token is predicted from the source and what stands before it.
    """
    select = batch.counts[:, 1:]
    logits = model(batch.source, batch.target[:, :-1], is_source=batch.is_source, select=select)
    targets = batch.target[:, 1:][select]
    total = F.cross_entropy(logits, targets, reduction="sum")
    right = (logits.argmax(dim=-1) == targets).sum()
    items = torch.tensor(float(targets.numel()), device=total.device)
    return Loss(total, items, {"accuracy": right.detach()})
