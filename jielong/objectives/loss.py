"""A loss is a sum with a count, so that micro-batches of any size add up exactly."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Loss:
    """`total` () is summed over items, `items` () says how many; the loop divides once.

    `metrics` are further sums over the same items, divided by the same count for the log; one whose
    name ends in `_max` is a maximum instead.
    """

    total: Tensor
    items: Tensor
    metrics: dict[str, Tensor] = field(default_factory=dict)

    def as_nothing(self) -> "Loss":
        """The same computation, counting for nothing: it may be needed for its own sake."""
        sums = {n: m if n.endswith("_max") else m * 0 for n, m in self.metrics.items()}
        return Loss(self.total * 0, self.items * 0, sums)


def cross_entropy(logits: Float[Tensor, "N V"], targets: Int[Tensor, "N"]) -> Loss:
    """-log p(target) in nats, summed over N targets, (N,), given their scores (N, V)."""
    total = F.cross_entropy(logits, targets, reduction="sum")
    return Loss(total, torch.tensor(float(targets.numel()), device=total.device))


def token_logp(logits: Float[Tensor, "*N V"], targets: Int[Tensor, "*N"]) -> Float[Tensor, "*N"]:
    """log p(target) in nats: `logits` (..., V), `targets` (...) -> (...)."""
    chosen = logits.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    return chosen - torch.logsumexp(logits, dim=-1)
