import itertools
import math

import pytest
import torch
from torch import Tensor

from jielong.objectives.preference import (
    RankingBatch,
    k_way_loss,
    ranking_loss,
)
from tests.tiny import random_ids, scalar_model


def scores(prompts: int, answers: int, seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(prompts, answers, generator=random, dtype=torch.float64)


def ranks(*rows: list[int]) -> Tensor:
    """One annotator's ranks (P, 1, K), written from 0; -1 is an answer that is not there."""
    return torch.tensor(rows)[:, None] + 1


def accuracy(r: Tensor, rank: Tensor) -> float:
    loss = k_way_loss(r, rank)
    return loss.metrics["accuracy"].item() / max(1, loss.items.item())


def naive(r: Tensor, rank: Tensor) -> tuple[float, int]:
    """The definition in plain loops: (sum over prompts of the mean over pairs, prompts)."""
    total, prompts = 0.0, 0
    for row, (places,) in zip(r.tolist(), rank.tolist(), strict=True):
        losses = [
            -math.log(1 / (1 + math.exp(row[j] - row[i])))
            for i, j in itertools.permutations(range(len(row)), 2)
            if 0 < places[i] < places[j]
        ]
        if losses:
            total, prompts = total + sum(losses) / len(losses), prompts + 1
    return total, prompts


@pytest.mark.parametrize(
    "rank",
    [
        ranks([0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2]),
        ranks([0, 0, 1, 2], [5, 5, 5, 5], [1, 1, 0, 0]),
        ranks([0, 1, 2, 3, 4, 5, 6, 7, 8]),
    ],
)
def test_R1_equals_the_definition_in_loops(rank: Tensor) -> None:
    r = scores(len(rank), rank.shape[-1])
    loss = k_way_loss(r, rank)
    total, prompts = naive(r, rank)
    assert math.isclose(loss.total.item(), total, rel_tol=1e-6)
    assert loss.items.item() == prompts


def test_R1_two_answers_by_hand() -> None:
    loss = k_way_loss(torch.tensor([[2.0, 1.0]]), ranks([1, 0]))  # the second is better
    assert math.isclose(loss.total.item(), math.log(1 + math.e), rel_tol=1e-6)


def test_R1_prompts_weigh_the_same_whatever_their_number_of_answers() -> None:
    """Equal scores cost log 2 a prompt, with 6 pairs or with 36."""
    for k in (2, 4, 9):
        loss = k_way_loss(torch.zeros(3, k), torch.arange(1, k + 1).expand(3, 1, k))
        assert math.isclose(loss.total.item() / 3, math.log(2), rel_tol=1e-6)
        assert loss.items.item() == 3


def test_R1_prompts_with_fewer_answers_stand_beside_longer_ones() -> None:
    """What fills the table up is no answer: it wins no pair, loses none, and takes no gradient."""
    r = scores(2, 4).requires_grad_()
    loss = k_way_loss(r, ranks([1, 0, -1, -1], [0, 1, 2, 2]))
    total = naive(r[:1, :2], ranks([1, 0]))[0] + naive(r[1:], ranks([0, 1, 2, 2]))[0]
    assert math.isclose(loss.total.item(), total, rel_tol=1e-6)
    loss.total.backward()
    assert not r.grad[0, 2:].any()
    one_each = accuracy(r[:1, :2], ranks([1, 0])) + accuracy(r[1:], ranks([0, 1, 2, 2]))
    both = accuracy(r, ranks([1, 0, -1, -1], [0, 1, 2, 2]))
    assert math.isclose(both, one_each / 2, rel_tol=1e-6)


def test_R1_the_gradients_of_a_prompt_cancel() -> None:
    r = scores(3, 5).requires_grad_()
    rank = ranks([0, 1, 2, 3, 4], [0, 0, 1, 1, 2], [4, 2, 0, 1, 3])
    k_way_loss(r, rank).total.backward()
    torch.testing.assert_close(r.grad.sum(dim=1), torch.zeros(3, dtype=torch.float64))
    assert r.grad[0, 0] < 0 < r.grad[0, 4]  # the best is to rise, the worst to fall


def test_R1_a_common_shift_changes_nothing() -> None:
    r, rank = scores(2, 4), ranks([0, 1, 2, 3], [2, 0, 1, 3])
    shifted = r + torch.tensor([[7.0], [-3.0]])
    torch.testing.assert_close(k_way_loss(shifted, rank).total, k_way_loss(r, rank).total)


def test_R1_the_order_of_answers_changes_nothing() -> None:
    r, rank = scores(2, 4), ranks([0, 1, 2, 3], [2, 0, 1, 1])
    order = torch.tensor([2, 0, 3, 1])
    one, other = k_way_loss(r, rank), k_way_loss(r[:, order], rank[..., order])
    torch.testing.assert_close(one.total, other.total)
    torch.testing.assert_close(one.metrics["accuracy"], other.metrics["accuracy"])


def test_R1_one_tie_removes_exactly_one_pair() -> None:
    r = torch.tensor([[1.0, 2.0, 4.0]], dtype=torch.float64)
    cost = {gap: math.log(1 + math.exp(gap)) for gap in (1, 2, 3)}  # each pair is the wrong way
    whole, tied = k_way_loss(r, ranks([0, 1, 2])), k_way_loss(r, ranks([0, 0, 2]))
    assert math.isclose(whole.total.item(), (cost[1] + cost[3] + cost[2]) / 3, rel_tol=1e-6)
    assert math.isclose(tied.total.item(), (cost[3] + cost[2]) / 2, rel_tol=1e-6)


def test_R1_a_prompt_of_ties_counts_nowhere() -> None:
    r = scores(1, 4).requires_grad_()
    loss = k_way_loss(r, ranks([1, 1, 1, 1]))
    assert (loss.total.item(), loss.items.item()) == (0, 0)
    loss.total.backward()
    assert torch.equal(r.grad, torch.zeros_like(r))
    assert accuracy(r, ranks([1, 1, 1, 1])) == 0  # no NaN


def test_R1_far_apart_scores_stay_finite() -> None:
    r = torch.tensor([[-1e4, 1e4]]).requires_grad_()
    loss = k_way_loss(r, ranks([0, 1]))
    loss.total.backward()
    assert loss.total.item() == 2e4
    assert r.grad.tolist() == [[-1, 1]]


def test_R1_a_prompt_is_the_mean_over_its_annotators() -> None:
    """Two who disagree, one who left two answers out, one who saw no difference."""
    r = scores(2, 3).requires_grad_()
    orders = [[0, 1, 2], [2, 1, 0], [0, -1, -1], [1, 1, 1]]
    other = [[1, 0, 2]] + [[-1, -1, -1]] * 3
    loss = k_way_loss(r, torch.tensor([orders, other]) + 1)
    both = sum(naive(r[:1], ranks(order))[0] for order in orders[:2]) / 2
    total = both + naive(r[1:], ranks(other[0]))[0]
    assert math.isclose(loss.total.item(), total, rel_tol=1e-6)
    assert loss.items.item() == 2
    loss.total.backward()
    torch.testing.assert_close(r.grad.sum(dim=1), torch.zeros(2, dtype=torch.float64))


def test_R6_a_prompts_accuracy_is_the_mean_over_its_annotators() -> None:
    """Right in 3 of 3 pairs by the first, in 1 of 1 wrong by the second: one half."""
    r = torch.tensor([[3.0, 2.0, 1.0]])
    assert accuracy(r, torch.tensor([[[1, 2, 3], [2, 1, 0]]])) == 0.5


def test_R1_an_answer_that_only_one_annotator_ranked_has_its_row() -> None:
    model, ids = scalar_model(), random_ids(3, 6)
    batch = RankingBatch(ids, torch.tensor([6, 4, 5]), torch.tensor([[[1, 2, 0], [0, 1, 2]]]))
    with torch.no_grad():
        r = model.rewards(ids, batch.lengths)[None].double()
    total = (naive(r, ranks([0, 1, -1]))[0] + naive(r, ranks([-1, 0, 1]))[0]) / 2
    assert math.isclose(ranking_loss(model, batch).total.item(), total, rel_tol=1e-5)


def test_R1_one_forward_row_an_answer_read_at_its_end() -> None:
    model, rows = scalar_model(), []
    model.register_forward_hook(lambda _module, arguments, _output: rows.append(arguments[0]))
    ids, lengths = random_ids(5, 8), torch.tensor([8, 3, 5, 8, 1])
    batch = RankingBatch(ids, lengths, ranks([0, 1, 2], [1, -1, 0]))
    loss = ranking_loss(model, batch)
    assert [tuple(row.shape) for row in rows] == [(5, 8)]
    with torch.no_grad():
        read = torch.stack([model(ids[i : i + 1, :n])[0, -1] for i, n in enumerate(lengths)])
    first, second = read[:3].double(), read[3:].double()
    total = naive(first[None], ranks([0, 1, 2]))[0] + naive(second[None], ranks([1, 0]))[0]
    assert math.isclose(loss.total.item(), total, rel_tol=1e-5)


def test_R6_accuracy_counts_pairs_in_the_right_order() -> None:
    """First prompt: 2 of 3 pairs; second: one pair tied in score, of one."""
    r = torch.tensor([[3.0, 1.0, 2.0], [1.0, 1.0, 0.0]])
    rank = ranks([0, 1, 2], [0, 1, 1])
    assert math.isclose(accuracy(r, rank), (2 / 3 + 1.5 / 2) / 2, rel_tol=1e-6)


def test_R6_better_and_worse_exchanged_give_the_rest_to_one() -> None:
    r = scores(40, 4)
    rank = ranks(*scores(40, 4, seed=1).argsort(dim=1).tolist())
    straight, swapped = accuracy(r, rank), accuracy(r, 5 - rank)
    assert math.isclose(straight + swapped, 1, abs_tol=1e-6)


def test_R6_labels_flipped_at_random_cap_the_accuracy() -> None:
    """The true score against pairs of which 20 % were turned around: 1 - 0.2, s.e. 0.0063."""
    random = torch.Generator().manual_seed(0)
    r = scores(4000, 2)
    better = (r[:, 0] > r[:, 1]) ^ (torch.rand(4000, generator=random) < 0.2)
    rank = ranks(*torch.stack([~better, better], dim=1).long().tolist())
    assert abs(accuracy(r, rank) - 0.8) < 0.02
