import torch

from jielong.model.task_model import TaskModel
from tests.tiny import config, random_ids, randomise


def model(classes: int | None) -> TaskModel:
    made = TaskModel(config(), classes)
    randomise(made, 0)
    return made.eval()


def nothing(ids: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(ids, dtype=torch.bool)


def test_the_head_reads_the_last_token() -> None:
    made, ids = model(3), random_ids(2, 1, 8)
    lengths = torch.tensor([[8], [5]])
    scores, _ = made(ids, lengths, select=nothing(ids))
    for row, size in enumerate((8, 5)):
        state = made.trunk.hidden(ids[row, :, :size])[0, -1]
        expected = made.head.weight @ state + made.head.bias
        torch.testing.assert_close(scores[row], expected, atol=1e-5, rtol=1e-5)


def test_two_texts_in_both_orders_score_alike_whichever_comes_first() -> None:
    made, ids = model(3), random_ids(1, 2, 8)
    lengths = torch.tensor([[8, 6]])
    scores, _ = made(ids, lengths, select=nothing(ids))
    swapped, _ = made(ids.flip(1), lengths.flip(1), select=nothing(ids))
    torch.testing.assert_close(scores, swapped)
    states = [made.trunk.hidden(ids[0, i : i + 1, :n])[0, -1] for i, n in enumerate((8, 6))]
    torch.testing.assert_close(scores[0], made.head(states[0] + states[1]))


def test_choices_are_scored_apart_and_a_missing_one_never_wins() -> None:
    made, ids = model(None), random_ids(2, 3, 6)
    lengths = torch.tensor([[6, 4, 2], [5, 6, 0]])
    scores, _ = made(ids, lengths, select=nothing(ids))
    assert scores.shape == (2, 3)
    assert scores[1, 2] == -torch.inf
    one, _ = made(ids[:1, 1:2], lengths[:1, 1:2], select=nothing(ids[:1, 1:2]))
    torch.testing.assert_close(one[0, 0], scores[0, 1])


def test_selected_positions_are_scored_by_the_language_model() -> None:
    made, ids = model(3), random_ids(2, 2, 5)
    select = nothing(ids)
    select[0, 1, 3] = select[1, 0, 2] = True
    _, logits = made(ids, torch.full((2, 2), 5), select=select)
    torch.testing.assert_close(logits[0], made.trunk(ids[0, 1:2])[0, 3])
    torch.testing.assert_close(logits[1], made.trunk(ids[1, 0:1])[0, 2])
