"""Prefix language modelling: read the first part of a text both ways, predict the rest.

maximise sum_{i > p} log p(w_i | w_1 .. w_{i-1}), where w_1 .. w_p see each other both ways
(arXiv:1910.10683, section 3.2.1 and the right side of figure 4)
"""

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from jielong.objectives.loss import Loss, cross_entropy


class PrefixBatch(NamedTuple):
    """Rows of tokens `ids` (B, T+1), of which the first `prefix` (B,), 1 to T, are the prefix."""

    ids: Tensor
    prefix: Tensor


@runtime_checkable
class PrefixModel(Protocol):
    """Scores (N, V) of what follows the selected positions of `ids` (B, T)."""

    def __call__(self, ids: Tensor, *, select: Tensor, prefix: Tensor) -> Tensor:
        """Score the selected positions."""
        ...


def cut_prefixes(ids: Int[Tensor, "B T1"], random: np.random.Generator) -> PrefixBatch:
    """Cut each row at a place of its own, each from 1 to T as likely as any other."""
    return PrefixBatch(ids, torch.from_numpy(random.integers(1, ids.shape[1], size=len(ids))))


def prefix_loss(model: PrefixModel, batch: PrefixBatch) -> Loss:
    """Cross-entropy in nats summed over the tokens after the prefix.

    A token of the prefix has seen its successor, so predicting that would teach nothing.
    """
    places = torch.arange(1, batch.ids.shape[1], device=batch.ids.device)
    select = places >= batch.prefix[:, None]
    logits = model(batch.ids[:, :-1], select=select, prefix=batch.prefix)
    return cross_entropy(logits, batch.ids[:, 1:][select])
