"""From one text to another: an encoder reads the source, a decoder predicts the target.

maximise sum_i log p(y_i | y_{<i}, x)      (arXiv:1706.03762; as pretraining arXiv:1910.10683)
"""

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from jielong.objectives.loss import Loss, cross_entropy


class SourceTarget(NamedTuple):
    """Sources (B, S), each ended by `<eos>`, and targets (B, T), padded on the right.

    `source_is_token` (B, S) is False on padding; `inputs` (B, T) are the targets shifted right;
    `counts` (B, T) bool, True where a target's token counts.
    """

    source: Tensor
    source_is_token: Tensor
    inputs: Tensor
    targets: Tensor
    counts: Tensor


@runtime_checkable
class SourceTargetModel(Protocol):
    """Scores (N, V) of what follows the selected positions of `target` (B, T), given `source`."""

    def __call__(
        self, source: Tensor, target: Tensor, *, source_is_token: Tensor, select: Tensor
    ) -> Tensor:
        """Score the selected positions."""
        ...


class Marks(NamedTuple):
    """The ids of the special tokens: what fills rows, opens a target, ends a text, hides a span."""

    pad: int
    bos: int
    eos: int
    mask: int


def cut_in_two(
    ids: Int[Tensor, "B T"], *, marks: Marks, random: np.random.Generator
) -> SourceTarget:
    """Cut each row in two at a place of its own: what comes before is the source of what follows.

    (arXiv:1910.10683, table 3, "prefix language modeling".)
    """
    places = random.integers(1, ids.shape[1], size=len(ids)).tolist()
    pairs = [(row[:place], row[place:]) for row, place in zip(ids, places, strict=True)]
    return lay_out(pairs, marks)


def corrupt_spans(
    ids: Int[Tensor, "B T"],
    *,
    marks: Marks,
    random: np.random.Generator,
    share: float = 0.15,
    length: float = 3.0,
) -> SourceTarget:
    """Take spans out of each row: the source has a mask in the place of each, the target has them.

    T5's objective (arXiv:1910.10683, sections 3.1.4 and 3.3.4, figure 2): a `share` of the tokens,
    in spans of `length` on average. Its sentinels are numbered; here all are `mask`, as spans come
    in order.
    The target is mask, span, mask, span .. and `<eos>`.
    """
    pairs = []
    for row in ids:
        kept, taken = [], []
        for i, piece in enumerate(row.split(span_lengths(len(row), share, length, random))):
            sentinel = piece.new_tensor([marks.mask])
            kept += [sentinel] if i % 2 else [piece]
            taken += [sentinel, piece] if i % 2 else []
        pairs.append((torch.cat(kept), torch.cat([*taken, row.new_tensor([marks.eos])])))
    return lay_out(pairs, marks)


def span_counts(size: int, share: float, length: float) -> tuple[int, int]:
    """How many tokens of a row of `size` are taken out, in how many spans."""
    taken = min(max(round(size * share), 1), size - 1)
    return taken, min(max(round(taken / length), 1), taken, size - taken)


def span_lengths(size: int, share: float, length: float, random: np.random.Generator) -> list[int]:
    """How long the pieces of a row of `size` are, by turns kept and taken, beginning with kept.

    The numbers of tokens and of spans are fixed; which of the ways to cut them is drawn evenly.
    """
    taken, spans = span_counts(size, share, length)
    return [
        piece
        for pair in zip(_cut(size - taken, spans, random), _cut(taken, spans, random), strict=True)
        for piece in pair
    ]


def lay_out(pairs: list[tuple[Tensor, Tensor]], marks: Marks) -> SourceTarget:
    """Pairs (source, target) of ids as rows.

    Where a source ends is marked, for attention across knows no order.
    """
    sources = [torch.cat([source, source.new_tensor([marks.eos])]) for source, _ in pairs]
    targets = [target for _, target in pairs]
    inputs = [torch.cat([target.new_tensor([marks.bos]), target[:-1]]) for target in targets]
    source, shifted, target = (
        pad_sequence(rows, batch_first=True, padding_value=marks.pad)
        for rows in (sources, inputs, targets)
    )
    return SourceTarget(source, _is_token(sources), shifted, target, _is_token(targets))


def target_loss(model: SourceTargetModel, batch: SourceTarget) -> Loss:
    """Cross-entropy in nats summed over the targets' tokens.

    Padding of a target sits to the right of all that counts, so the decoder needs no mask for it.
    """
    logits = model(
        batch.source,
        batch.inputs,
        source_is_token=batch.source_is_token,
        select=batch.counts,
    )
    return cross_entropy(logits, batch.targets[batch.counts])


def _cut(size: int, pieces: int, random: np.random.Generator) -> list[int]:
    """`size` as a sum of that many whole numbers above 0."""
    cuts = np.sort(random.choice(size - 1, pieces - 1, replace=False)) + 1 if pieces > 1 else []
    return np.diff(np.concatenate([[0], cuts, [size]])).astype(int).tolist()


def _is_token(rows: list[Tensor]) -> Tensor:
    return pad_sequence([torch.ones_like(row, dtype=torch.bool) for row in rows], batch_first=True)
