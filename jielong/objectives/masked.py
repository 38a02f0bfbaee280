"""Masked language modelling: hide some tokens and predict them from both sides (BERT).

maximise sum over hidden i of log p(w_i | corrupted text)      (arXiv:1810.04805, section 3.1)
"""

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn import functional as F

from jielong.objectives.loss import Loss, cross_entropy

MASKED, REPLACED = 0.8, 0.1
"""Of the chosen tokens: hidden by the mask, replaced by another; the rest stay as they are."""


class MaskedBatch(NamedTuple):
    """`ids` (B, T) as the model reads them, `targets` (B, T) as they were, `counts` (B, T) bool,
    True where the model has to say what was there."""

    ids: Tensor
    targets: Tensor
    counts: Tensor


@runtime_checkable
class MaskedModel(Protocol):
    """Scores (N, V) of what stands at the selected positions of `ids` (B, T)."""

    def __call__(self, ids: Tensor, *, select: Tensor) -> Tensor:
        """Score the selected positions."""
        ...


def corrupt(
    ids: Int[Tensor, "B T"],
    *,
    ordinary: Bool[Tensor, "V"],
    mask: int,
    random: np.random.Generator,
    words: Int[Tensor, "B T"] | None = None,
    share: float = 0.15,
) -> MaskedBatch:
    """Choose each token with probability `share`; hide 80 % of them, replace 10 % (ibid.).

    One word at least is chosen, whatever the draws, if there is an ordinary token.

    `ordinary` (V,) is False for the special tokens, which are neither chosen nor put anywhere.
    With `words` (B, T), which numbers the words of a row, whole words are chosen (BERT's second
    release; for Chinese arXiv:1906.08101); the fate of each of their tokens is still its own.
    """
    number = torch.arange(ids.shape[1]).expand_as(ids)
    if words is not None:
        begins = F.pad(words[:, 1:] != words[:, :-1], (1, 0))
        number = begins.long().cumsum(dim=1)
    draws, fates = (torch.from_numpy(random.random(ids.shape)) for _ in range(2))
    draws = draws.gather(1, number)
    # One at the least: a batch without a target would end training.
    least = draws.masked_fill(~ordinary[ids], 1.0).min()
    counts = ((draws < share) | (draws == least)) & ordinary[ids]
    others = ordinary.nonzero().squeeze(1)
    others = others[torch.from_numpy(random.integers(len(others), size=ids.shape))]
    read = torch.where(counts & (fates < MASKED), mask, ids)
    replaced = counts & (fates >= MASKED) & (fates < MASKED + REPLACED)
    return MaskedBatch(torch.where(replaced, others, read), ids, counts)


def masked_loss(model: MaskedModel, batch: MaskedBatch) -> Loss:
    """Cross-entropy in nats summed over the chosen tokens."""
    logits = model(batch.ids, select=batch.counts)
    return cross_entropy(logits, batch.targets[batch.counts])
