"""The recurrent models: padding, packed documents and a remembered state change nothing."""

import pytest
import torch

from jielong.baselines.recurrent import Recurrent, RecurrentConfig, RecurrentState
from jielong.objectives.language_model import TokenBatch, next_token_loss
from jielong.training.learner import Learner, Part
from jielong.training.optimizers import OptimizerConfig, Schedule, make_optimizers
from tests.tiny import random_ids, randomise

CELLS = ("lstm", "gru")


def recurrent(cell: str, **changes: object) -> Recurrent:
    settings: dict = {"vocab_size": 23, "context": 32, "cell": cell, "n_layer": 2, "width": 12}
    model = Recurrent(RecurrentConfig(**settings | changes))
    randomise(model, seed=1)
    return model.eval()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("tied", [True, False])
def test_select_scores_the_same_positions(cell: str, tied: bool) -> None:
    model, ids = recurrent(cell, tied=tied), random_ids(3, 7)
    select = torch.rand(3, 7, generator=torch.Generator().manual_seed(0)) < 0.5
    whole = model(ids)
    assert whole.shape == (3, 7, 23)
    assert torch.equal(model(ids, select=select), whole[select])


@pytest.mark.parametrize("cell", CELLS)
def test_no_token_sees_what_follows_it(cell: str) -> None:
    model, ids = recurrent(cell), random_ids(2, 8)
    other = ids.clone()
    other[:, 5:] = random_ids(2, 3, seed=9)
    torch.testing.assert_close(model(ids)[:, :5], model(other)[:, :5])
    assert not torch.allclose(model(ids)[:, 5], model(other)[:, 5])


@pytest.mark.parametrize("cell", CELLS)
def test_padding_changes_nothing(cell: str) -> None:
    model = recurrent(cell)
    rows = [random_ids(1, length, seed=length) for length in (2, 5, 3)]
    for side in ("left", "right"):
        ids, is_token = torch.zeros(3, 5, dtype=torch.long), torch.zeros(3, 5, dtype=torch.bool)
        for i, row in enumerate(rows):
            place = slice(5 - row.shape[1], 5) if side == "left" else slice(0, row.shape[1])
            ids[i, place], is_token[i, place] = row[0], True
        scores = model(ids, is_token=is_token)
        for i, row in enumerate(rows):
            torch.testing.assert_close(scores[i, is_token[i]], model(row)[0])


@pytest.mark.parametrize("cell", CELLS)
def test_documents_of_a_row_stay_apart(cell: str) -> None:
    model, ids = recurrent(cell), random_ids(2, 9)
    documents = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 2, 2], [5, 5, 5, 5, 5, 5, 5, 5, 7]])
    scores = model(ids, documents=documents)
    for row, spans in enumerate([[(0, 3), (3, 7), (7, 9)], [(0, 8), (8, 9)]]):
        for start, stop in spans:
            alone = model(ids[row : row + 1, start:stop])[0]
            torch.testing.assert_close(scores[row, start:stop], alone)


@pytest.mark.parametrize("cell", CELLS)
def test_a_text_read_in_pieces_is_the_same_text(cell: str) -> None:
    model, ids = recurrent(cell), random_ids(3, 9)
    ids[1, :2] = 0
    is_token = ids > 0
    whole = model.hidden(ids, is_token=is_token)
    state = RecurrentState()
    model.hidden(ids[:, :4], is_token=is_token[:, :4], state=state)
    for place in range(4, 9):
        piece = model.hidden(ids[:, place : place + 1], state=state)
        torch.testing.assert_close(piece[:, 0], whole[:, place])


@pytest.mark.parametrize("cell", CELLS)
def test_rows_of_a_state_may_leave_and_fork(cell: str) -> None:
    model, ids, more = recurrent(cell), random_ids(3, 4), random_ids(3, 2, seed=5)
    state = RecurrentState()
    model.hidden(ids, state=state)
    rows = torch.tensor([2, 0, 2])
    state.select(rows)
    found = model.hidden(more, state=state)
    expected = model.hidden(torch.cat([ids[rows], more], dim=1))[:, 4:]
    torch.testing.assert_close(found, expected)


def test_a_young_lstm_remembers() -> None:
    settings: dict = {"vocab_size": 23, "context": 32, "n_layer": 2, "width": 12}
    cells = Recurrent(RecurrentConfig(cell="lstm", **settings)).cells
    for layer in range(2):
        bias = getattr(cells, f"bias_ih_l{layer}")
        assert (bias[12:24] == 1).all()
        assert (bias[:12].abs() < 0.5).all()


@pytest.mark.parametrize("cell", CELLS)
def test_learns_a_cycle_through_the_one_loop(cell: str) -> None:
    torch.manual_seed(0)
    shape = RecurrentConfig(vocab_size=8, context=16, cell=cell, n_layer=1, width=16)
    config = OptimizerConfig(lr=0.02)
    model = Recurrent(shape)
    learner = Learner(model, make_optimizers(model, config), Schedule.of(config, 60), clip=1.0)
    ids = (torch.arange(17) + torch.arange(4)[:, None]) % 8
    batch = TokenBatch(ids, torch.ones_like(ids, dtype=torch.bool))
    losses = [learner.update(Part([batch], next_token_loss))["loss"] for _ in range(60)]
    assert losses[0] > 1.5
    assert losses[-1] < 0.1


@pytest.mark.parametrize("change", [{"n_layer": 0}, {"width": 0}, {"dropout": 1.0}, {"context": 0}])
def test_impossible_shapes_are_named(change: dict) -> None:
    settings: dict = {"context": 32, "cell": "gru", "n_layer": 1, "width": 8} | change
    with pytest.raises(ValueError, match=next(iter(change))):
        RecurrentConfig(**settings)
