import math

import torch
from torch import Tensor

from jielong.objectives.language_model import TokenBatch, next_token_loss
from tests.tiny import decoder, random_ids


def bigram(ids: Tensor, *, select: Tensor) -> Tensor:
    """A model of four tokens that gives the next number probability 1/2, each other 1/6."""
    probabilities = torch.full((4, 4), 1 / 6) + torch.eye(4).roll(1, 1) / 3
    return probabilities.log()[ids][select]


def test_the_loss_by_hand() -> None:
    """Targets that count: 1 after 0 (1/2), 3 after 1 (1/6), 0 after 3 (1/2)."""
    ids = torch.tensor([[0, 1, 3, 2], [2, 3, 0, 0]])
    counts = torch.tensor([[1, 1, 1, 0], [0, 0, 1, 0]], dtype=torch.bool)
    loss = next_token_loss(bigram, TokenBatch(ids, counts))
    assert loss.items.item() == 3
    assert math.isclose(loss.total.item(), 2 * math.log(2) + math.log(6), rel_tol=1e-6)


def test_the_first_token_is_never_a_target() -> None:
    batch = TokenBatch(torch.tensor([[1, 2]]), torch.tensor([[True, False]]))
    loss = next_token_loss(bigram, batch)
    assert (loss.items.item(), loss.total.item()) == (0, 0)


def test_it_is_the_cross_entropy_of_the_full_scores() -> None:
    model, ids = decoder(), random_ids(3, 9)
    counts = torch.rand(3, 9, generator=torch.Generator().manual_seed(0)) < 0.5
    logp = model(ids[:, :-1]).log_softmax(-1)
    expected = -sum(
        logp[i, t - 1, ids[i, t]] for i in range(3) for t in range(1, 9) if counts[i, t]
    )
    loss = next_token_loss(model, TokenBatch(ids, counts))
    torch.testing.assert_close(loss.total, expected)
    assert loss.items == counts[:, 1:].sum()
