"""Fine-tuning to a task with the language model's own loss beside it, as GPT-1 was.

L = L_task + lambda * L_lm      (Radford et al. 2018, "Improving Language Understanding by
Generative Pre-Training", eqs. 4 and 5)
"""

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional as F

from jielong.objectives.loss import Loss


class TaskBatch(NamedTuple):
    """P examples of up to K rows each: one text, two texts in both orders, or a row a choice.

    `ids` (P, K, T) padded on the right, `lengths` (P, K) real tokens of each row (0: no row),
    `labels` (P,) which class or row is right.
    """

    ids: Tensor
    lengths: Tensor
    labels: Tensor


@runtime_checkable
class TaskScorer(Protocol):
    """Scores (P, Y) of the answers, and (N, V) of what follows the selected positions."""

    def __call__(self, ids: Tensor, lengths: Tensor, *, select: Tensor) -> tuple[Tensor, Tensor]:
        """Score answers and next tokens."""
        ...


def finetune_loss(model: TaskScorer, batch: TaskBatch, lm_weight: float) -> Loss:
    """Cross-entropy of the answers plus `lm_weight` times that of the texts, over P examples.

    A text's loss is the mean over its tokens, and an example's the mean over its rows, so that long
    texts weigh no more than short ones (as in GPT-1's released code). With the weight 0 the next
    tokens are not scored at all.
    """
    places = torch.arange(batch.ids.shape[2], device=batch.ids.device)
    known = places + 1 < batch.lengths[..., None]  # positions that a token follows
    scores, logits = model(
        batch.ids, batch.lengths, select=known if lm_weight else torch.zeros_like(known)
    )
    task = F.cross_entropy(scores, batch.labels, reduction="sum")
    right = (scores.argmax(dim=1) == batch.labels).sum()
    metrics = {"task_loss": task.detach(), "accuracy": right.float()}
    total = task
    if lm_weight:
        nats = F.cross_entropy(logits, batch.ids[..., 1:][known[..., :-1]], reduction="none")
        text = _mean_by_example(nats, known, batch.lengths > 0)
        total = task + lm_weight * text
        metrics["lm_loss"] = text.detach()
    return Loss(total, torch.tensor(float(len(batch.labels)), device=total.device), metrics)


def _mean_by_example(nats: Tensor, known: Tensor, is_row: Tensor) -> Tensor:
    """The mean over tokens, then over rows, summed over examples. # (N,) -> ()."""
    tokens = torch.zeros_like(known, dtype=nats.dtype).masked_scatter(known, nats)
    rows = tokens.sum(dim=2) / known.sum(dim=2).clamp(min=1)
    return (rows.sum(dim=1) / is_row.sum(dim=1)).sum()
