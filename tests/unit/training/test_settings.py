import re
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from jielong.objectives.preference import RankingBatch
from jielong.training.settings import TrainingConfig, portions


class Batch(NamedTuple):
    ids: Tensor
    lengths: Tensor
    extra: Tensor | None = None


BATCH = Batch(torch.arange(10).view(5, 2), torch.arange(5))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"micro_batch": -1}, "micro_batch: -1: must not be negative"),
        ({"ema_decay": 1.0}, "ema_decay: 1.0: must be at least 0 and below 1"),
        ({"ema_decay": float("nan")}, "ema_decay: nan: must be at least 0 and below 1"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        TrainingConfig(**settings)


def test_a_batch_is_cut_by_its_rows() -> None:
    pieces = portions(BATCH, 2)
    assert [type(piece) for piece in pieces] == [Batch] * 3
    assert [piece.ids.tolist() for piece in pieces] == [
        [[0, 1], [2, 3]],
        [[4, 5], [6, 7]],
        [[8, 9]],
    ]
    assert [piece.lengths.tolist() for piece in pieces] == [[0, 1], [2, 3], [4]]
    assert all(piece.extra is None for piece in pieces)


def test_zero_leaves_it_whole() -> None:
    assert portions(BATCH, 0)[0] is BATCH
    (piece,) = portions(BATCH, 7)
    assert torch.equal(piece.ids, BATCH.ids)


def test_rows_of_different_things_are_not_cut() -> None:
    with pytest.raises(AssertionError, match="no batch that can be cut"):
        portions(Batch(torch.zeros(5, 2), torch.zeros(4)), 2)


def test_answers_stay_with_their_prompt() -> None:
    """Three prompts with 2, 3 and 1 ranked answers, one row each; two annotators."""
    ranks = torch.tensor([[[1, 2, 0], [0, 0, 0]], [[1, 0, 2], [1, 2, 0]], [[1, 0, 0], [0, 0, 0]]])
    batch = RankingBatch(torch.arange(12).view(6, 2), torch.arange(6), ranks)
    first, second = portions(batch, 2)
    assert first.lengths.tolist() == [0, 1, 2, 3, 4]
    assert second.lengths.tolist() == [5]
    assert second.ids.tolist() == [[10, 11]]
    assert torch.equal(torch.cat([first.ranks, second.ranks]), ranks)
