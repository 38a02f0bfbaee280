"""What a masked model puts into the gaps of a text."""

from typing import NamedTuple

import torch

from jielong.core.errors import ContextLengthError, DataError
from jielong.generation.loading import Trained
from jielong.model.transformer import Transformer

GAP = "[MASK]"


class Filling(NamedTuple):
    """A token's `text` for a gap, and how probable it is; `gap` counts from 1."""

    gap: int
    probability: float
    text: str


@torch.no_grad()
def fill(trained: Trained[Transformer], text: str, most: int = 5) -> list[Filling]:
    """The `most` probable tokens for each `[MASK]` of `text`, gap by gap, the likeliest first.

    All gaps are filled at once, each as if the others stayed open. A space before a gap belongs to
    what is missing, as it does to every English word. Special tokens are left out. Raises
    `DataError` for a text without a gap and `ContextLengthError` for one that is too long.
    """
    ids, gaps = _encode(trained, text)
    context = trained.model.config.context
    if len(ids) > context:
        raise ContextLengthError(
            f"the text has {len(ids)} tokens and the model's context is {context}: shorten it",
            tokens=len(ids),
            context=context,
        )
    device = next(trained.model.parameters()).device
    row = torch.tensor([ids], device=device)
    select = torch.zeros_like(row, dtype=torch.bool)
    select[0, gaps] = True
    probabilities = trained.model(row, select=select).softmax(dim=-1)
    pieces = trained.tokenizer.token_bytes
    ordinary = torch.tensor([len(piece) > 0 for piece in pieces], device=device)
    best = probabilities.masked_fill(~ordinary, -1).topk(min(most, int(ordinary.sum())), dim=-1)
    return [
        Filling(gap, probability, _readable(pieces[token]))
        for gap, row in enumerate(zip(best.values.tolist(), best.indices.tolist(), strict=True), 1)
        for probability, token in zip(*row, strict=True)
    ]


def _encode(trained: Trained[Transformer], text: str) -> tuple[list[int], list[int]]:
    """The ids of `text`, and where its gaps are among them."""
    *before, last = text.split(GAP)
    if not before:
        raise DataError(f"{text!r}: has no gap: write {GAP} where a token is missing")
    special, gaps = trained.tokenizer.special, []
    ids = [special.bos]
    for piece in before:
        ids += trained.tokenizer.encode(piece.removesuffix(" "))
        gaps.append(len(ids))
        ids.append(special.mask)
    return ids + trained.tokenizer.encode(last), gaps


def _readable(piece: bytes) -> str:
    """A token's text on one line; half a character as its bytes."""
    try:
        text = piece.decode()
    except UnicodeDecodeError:
        return "".join(f"<{byte:02X}>" for byte in piece)
    return text if text.strip() and text.isprintable() else repr(text)
