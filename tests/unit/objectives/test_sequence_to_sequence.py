import math

import torch
from torch import Tensor

from jielong.objectives.sequence_to_sequence import PairBatch, pair_loss


def echo(source: Tensor, target: Tensor, *, is_source: Tensor, select: Tensor) -> Tensor:
    """Of four tokens, the one that stands first in the source has probability 1/2."""
    probabilities = torch.full((4, 4), 1 / 6) + torch.eye(4) / 3
    rows = probabilities.log()[source[:, :1].expand(target.shape)]
    return rows[select]


def test_the_loss_by_hand() -> None:
    """Targets that count: 2, 3 of the first row (1/2, 1/6), 1 of the second (1/2): two are right.

    The token that opens a target is never predicted, and padding does not count.
    """
    source = torch.tensor([[2, 0], [1, 3]])
    is_source = torch.tensor([[True, False], [True, True]])
    target = torch.tensor([[0, 2, 3], [0, 1, 0]])
    counts = torch.tensor([[True, True, True], [True, True, False]])
    loss = pair_loss(echo, PairBatch(source, is_source, target, counts))
    assert loss.items.item() == 3
    assert math.isclose(loss.total.item(), 2 * math.log(2) + math.log(6), rel_tol=1e-6)
    assert loss.metrics["accuracy"].item() == 2
