import math

import numpy as np
import torch
from torch import Tensor

from jielong.objectives.sequence_to_sequence import (
    Marks,
    corrupt_spans,
    cut_in_two,
    lay_out,
    span_lengths,
    target_loss,
)
from tests.tiny import encoder_decoder, random_ids

MARKS = Marks(pad=0, bos=1, eos=2, mask=0)


def rows_of(ids: Tensor, is_token: Tensor) -> list[list[int]]:
    return [row[real].tolist() for row, real in zip(ids, is_token, strict=True)]


def test_rows_by_hand() -> None:
    pairs = [(torch.tensor([7, 8]), torch.tensor([9])), (torch.tensor([7]), torch.tensor([8, 9]))]
    batch = lay_out(pairs, MARKS)
    assert batch.source.tolist() == [[7, 8, 2], [7, 2, 0]]
    assert batch.source_is_token.tolist() == [[True, True, True], [True, True, False]]
    assert batch.inputs.tolist() == [[1, 0], [1, 8]]
    assert batch.targets.tolist() == [[9, 0], [8, 9]]
    assert batch.counts.tolist() == [[True, False], [True, True]]


def test_a_row_cut_in_two_is_the_row() -> None:
    ids = random_ids(3000, 7)
    batch = cut_in_two(ids, marks=MARKS, random=np.random.default_rng(0))
    sources = rows_of(batch.source, batch.source_is_token)
    targets = rows_of(batch.targets, batch.counts)
    inputs = rows_of(batch.inputs, batch.counts)
    assert all(source.pop() == 2 for source in sources)
    joined = [source + target for source, target in zip(sources, targets, strict=True)]
    assert joined == ids.tolist()
    assert inputs == [[1, *target[:-1]] for target in targets]
    counts = np.bincount([len(source) for source in sources], minlength=8)
    assert counts[0] == counts[7] == 0
    assert np.all(abs(counts[1:7] - 500) < 4 * math.sqrt(3000 * 5 / 36))


def test_spans_go_where_their_masks_stand() -> None:
    """Each mask of the source, replaced by the target's span of its number, is the row again."""
    ids = random_ids(200, 60)
    batch = corrupt_spans(ids, marks=MARKS, random=np.random.default_rng(0))
    taken = 0
    for row, source, target in zip(
        ids.tolist(),
        rows_of(batch.source, batch.source_is_token),
        rows_of(batch.targets, batch.counts),
        strict=True,
    ):
        assert source.pop() == target[-1] == 2
        spans: list[list[int]] = []
        for token in target[:-1]:
            if token == 0:
                spans.append([])
            else:
                spans[-1].append(token)
        assert all(spans)
        rebuilt, left = [], iter(spans)
        for token in source:
            rebuilt += next(left) if token == 0 else [token]
        assert rebuilt == row
        taken += sum(map(len, spans))
        assert len(spans) == 3  # 60 tokens, 15 % in spans of 3
    assert taken == 200 * 9
    starts = (batch.source == 0).float().mean(dim=0)
    assert starts[0] == 0  # a row begins with what is kept
    assert starts[2:50].min() > 0


def test_spans_of_any_row() -> None:
    random = np.random.default_rng(0)
    assert span_lengths(2, 0.15, 3.0, random) == [1, 1]
    for size in range(2, 40):
        for share, length in ((0.15, 3.0), (0.5, 1.0), (0.9, 2.5), (0.99, 1.0)):
            pieces = span_lengths(size, share, length, random)
            assert sum(pieces) == size
            assert min(pieces) >= 1
            assert len(pieces) % 2 == 0
            assert sum(pieces[1::2]) == min(max(round(size * share), 1), size - 1)


def repeating(source: Tensor, target: Tensor, *, source_is_token: Tensor, select: Tensor) -> Tensor:
    """A model of four tokens that gives the source's first one probability 1/2, others 1/6."""
    scores = (torch.full((4, 4), 1 / 6) + torch.eye(4) / 3).log()[source[:, 0]]
    return scores[:, None].expand(-1, target.shape[1], -1)[select]


def test_the_loss_by_hand() -> None:
    """From 3: 3 (1/2) and 1 (1/6); from 2: 2 (1/2)."""
    pairs = [(torch.tensor([3, 0]), torch.tensor([3, 1])), (torch.tensor([2]), torch.tensor([2]))]
    loss = target_loss(repeating, lay_out(pairs, MARKS))
    assert loss.items.item() == 3
    assert math.isclose(loss.total.item(), 2 * math.log(2) + math.log(6), rel_tol=1e-6)


def test_rows_of_one_batch_teach_what_they_teach_alone() -> None:
    """Padding of sources and targets changes no loss and no gradient."""
    ids = random_ids(5, 9)
    batch = cut_in_two(ids, marks=MARKS, random=np.random.default_rng(2))
    sources = rows_of(batch.source, batch.source_is_token)
    assert len({len(source) for source in sources}) > 1
    together, alone = encoder_decoder().double(), encoder_decoder().double()
    loss = target_loss(together, batch)
    loss.total.backward()
    total = torch.zeros((), dtype=torch.double)
    for row, source in zip(ids, sources, strict=True):
        place = len(source) - 1
        pair = (row[:place], row[place:])
        total = total + target_loss(alone, lay_out([pair], MARKS)).total
    total.backward()
    torch.testing.assert_close(loss.total, total)
    for one, other in zip(together.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, atol=1e-8, rtol=1e-6)
