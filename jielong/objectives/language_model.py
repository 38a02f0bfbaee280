"""Next-token prediction: maximise sum_i log p(w_i | w_{<i}).

Pretraining, fine-tuning on conversations and the pretraining term of PPO-ptx are this one loss;
only the mask of what counts differs.
"""

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from jielong.objectives.loss import Loss, cross_entropy


class TokenBatch(NamedTuple):
    """Rows of tokens, padded on the right.

    `ids` (B, T+1); `counts` (B, T+1) bool, True where predicting that token counts. The first
    column is never predicted. `documents` (B, T+1) numbers the texts that share a packed row: none
    sees another, and the first token of each must not count.
    """

    ids: Tensor
    counts: Tensor
    documents: Tensor | None = None


@runtime_checkable
class LanguageModel(Protocol):
    """Scores (N, V) of what follows the selected positions of `ids` (B, T)."""

    def __call__(self, ids: Tensor, *, select: Tensor, documents: Tensor | None = None) -> Tensor:
        """Score the selected positions."""
        ...


@runtime_checkable
class SurprisalModel(Protocol):
    """-log p in nats, summed over the `targets` (N,) of the selected positions of `ids` (B, T).

    A model that can tell it without holding all scores at once has less to write and to read.
    """

    def surprisal(
        self, ids: Tensor, targets: Tensor, *, select: Tensor, documents: Tensor | None = None
    ) -> Tensor:
        """Sum over the selected positions."""
        ...


def next_token_loss(model: LanguageModel | SurprisalModel, batch: TokenBatch) -> Loss:
    """Cross-entropy in nats summed over the tokens that count.

    Padding sits to the right of every token that counts, so a causal model needs no mask for it.
    """
    select = batch.counts[:, 1:]
    documents = None if batch.documents is None else batch.documents[:, :-1]
    ids, targets = batch.ids[:, :-1], batch.ids[:, 1:][select]
    if isinstance(model, SurprisalModel):
        total = model.surprisal(ids, targets, select=select, documents=documents)
        return Loss(total, torch.tensor(float(targets.numel()), device=total.device))
    return cross_entropy(model(ids, select=select, documents=documents), targets)
