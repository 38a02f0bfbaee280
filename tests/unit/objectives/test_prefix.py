import math

import numpy as np
import torch
from torch import Tensor

from jielong.objectives.language_model import TokenBatch, next_token_loss
from jielong.objectives.prefix import PrefixBatch, cut_prefixes, prefix_loss
from tests.tiny import decoder, random_ids


def bigram(ids: Tensor, *, select: Tensor, prefix: Tensor) -> Tensor:
    """A model of four tokens that gives the next number probability 1/2, each other 1/6."""
    probabilities = torch.full((4, 4), 1 / 6) + torch.eye(4).roll(1, 1) / 3
    return probabilities.log()[ids][select]


def test_the_loss_by_hand() -> None:
    """After a prefix of 2: 3 after 1 (1/6), 0 after 3 (1/2); after one of 3: 0 after 0 (1/6)."""
    batch = PrefixBatch(torch.tensor([[0, 1, 3, 0], [2, 3, 0, 0]]), torch.tensor([2, 3]))
    loss = prefix_loss(bigram, batch)
    assert loss.items.item() == 3
    assert math.isclose(loss.total.item(), 2 * math.log(6) + math.log(2), rel_tol=1e-6)


def test_a_prefix_of_one_is_next_token_prediction() -> None:
    """A single token sees nothing more when it sees both ways."""
    model, ids = decoder(), random_ids(3, 9)
    ours = prefix_loss(model, PrefixBatch(ids, torch.ones(3, dtype=torch.long)))
    plain = next_token_loss(model, TokenBatch(ids, torch.ones_like(ids, dtype=torch.bool)))
    torch.testing.assert_close(ours.total, plain.total)
    assert ours.items == plain.items == 24


def test_no_target_is_seen_and_all_of_the_prefix_is() -> None:
    """A changed token changes the loss of what follows it, or of all when it is in the prefix."""
    model, ids, prefix = decoder(), random_ids(1, 10), torch.tensor([5])

    def losses(row: Tensor) -> Tensor:
        logp = model(row[:, :-1], prefix=prefix).log_softmax(-1)
        return logp[0, 4:].gather(1, ids[0, 5:, None]).squeeze(1)

    before = losses(ids)
    torch.testing.assert_close(-before.sum(), prefix_loss(model, PrefixBatch(ids, prefix)).total)
    for place in range(9):
        changed = ids.clone()
        changed[0, place] = (ids[0, place] - 6 + 1) % 17 + 6
        moved = (losses(changed) - before).abs() > 1e-5
        assert moved.tolist() == [place < 5 or target > place for target in range(5, 10)]


def test_each_row_is_cut_at_a_place_of_its_own() -> None:
    """1 to T, each as often: 6000 rows, and four deviations."""
    ids = random_ids(6000, 7)
    batch = cut_prefixes(ids, np.random.default_rng(0))
    assert batch.ids is ids
    counts = torch.bincount(batch.prefix, minlength=8).tolist()
    assert counts[0] == counts[7] == 0
    assert all(abs(count - 1000) < 4 * math.sqrt(6000 * 5 / 36) for count in counts[1:7])
