import math

import torch
from torch import Tensor

from jielong.model.task_model import TaskModel
from jielong.objectives.finetune import TaskBatch, finetune_loss
from tests.tiny import config, random_ids, randomise


class Known:
    """Scores that a test knows, and a bigram model of four tokens: the next number has 1/2."""

    def __init__(self, scores: Tensor) -> None:
        self.scores = scores

    def __call__(self, ids: Tensor, lengths: Tensor, *, select: Tensor) -> tuple[Tensor, Tensor]:
        probabilities = torch.full((4, 4), 1 / 6) + torch.eye(4).roll(1, 1) / 3
        return self.scores, probabilities.log()[ids][select]


def batch() -> TaskBatch:
    """Two rows of 3 and 2 tokens, and one of 4."""
    ids = torch.tensor([[[0, 1, 2, 0], [3, 1, 0, 0]], [[0, 2, 3, 0], [0, 0, 0, 0]]])
    return TaskBatch(ids, torch.tensor([[3, 2], [4, 0]]), torch.tensor([0, 1]))


def test_both_losses_by_hand() -> None:
    """Answers: 3/4 and 1/5. Texts: 1 after 0, 2 after 1 | 1 after 3 || 2 after 0, 3 after 2, 0
    after 3: over tokens log 2 | log 6 || (log 6 + 2 log 2) / 3, over rows (log 2 + log 6) / 2.
    """
    scores = torch.tensor([[0.75, 0.25], [0.8, 0.2]]).log()
    task = -math.log(0.75) - math.log(0.2)
    text = (math.log(2) + math.log(6)) / 2 + (math.log(6) + 2 * math.log(2)) / 3
    loss = finetune_loss(Known(scores), batch(), 0.5)
    assert loss.items.item() == 2
    assert math.isclose(loss.total.item(), task + 0.5 * text, rel_tol=1e-6)
    assert math.isclose(loss.metrics["task_loss"].item(), task, rel_tol=1e-6)
    assert math.isclose(loss.metrics["lm_loss"].item(), text, rel_tol=1e-6)
    assert loss.metrics["accuracy"].item() == 1


def test_weight_0_is_the_task_alone() -> None:
    scores = torch.tensor([[0.75, 0.25], [0.8, 0.2]]).log()
    loss = finetune_loss(Known(scores), batch(), 0.0)
    assert math.isclose(loss.total.item(), -math.log(0.75) - math.log(0.2), rel_tol=1e-6)
    assert "lm_loss" not in loss.metrics


def test_gradients_are_those_of_the_examples_alone() -> None:
    """Rows of 7, 5 and 3 tokens, padded together or not."""
    sizes = (7, 5, 3)
    ids = torch.zeros(3, 1, 7, dtype=torch.long)
    for i, size in enumerate(sizes):
        ids[i, 0, :size] = random_ids(size, seed=i)
    lengths, labels = torch.tensor(sizes)[:, None], torch.tensor([0, 2, 1])
    models = [TaskModel(config(), 3).eval() for _ in range(2)]
    for model in models:
        randomise(model, 0)
    finetune_loss(models[0], TaskBatch(ids, lengths, labels), 0.5).total.backward()
    for i, size in enumerate(sizes):
        own = TaskBatch(ids[i : i + 1, :, :size], lengths[i : i + 1], labels[i : i + 1])
        finetune_loss(models[1], own, 0.5).total.backward()
    for one, other in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(one.grad, other.grad, atol=1e-5, rtol=1e-4)
