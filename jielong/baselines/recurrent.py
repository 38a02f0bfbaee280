"""Recurrent language models: one state carries all that was read, p(w_i | w_1 .. w_{i-1}).

    LSTM (Hochreiter & Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735; its forget gate: Gers et
         al. 2000, doi:10.1162/089976600300015015)
    GRU  (Cho et al. 2014, arXiv:1406.1078, eqs. 5 to 8)

The cells are torch's; its GRU resets after the product with the state's matrix, not before. The
whole has the interface of the transformer's decoder, so that the same objective, loop, evaluation
and sampling work with either.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import rnn

from jielong.core.config import check_positive


@dataclass(frozen=True, kw_only=True)
class RecurrentConfig:
    """`context` is the longest text it is asked to follow; the cells themselves have no limit.

    `tied` reads the scores with the embedding's own matrix (arXiv:1608.05859). `vocab_size` is 0
    in a recipe: the tokenizer tells it.
    """

    vocab_size: int = 0
    context: int
    cell: Literal["lstm", "gru"]
    n_layer: int
    width: int
    dropout: float = 0.0
    tied: bool = True

    def __post_init__(self) -> None:
        """Refuse shapes that cannot be built; the message begins with the setting's name."""
        check_positive(self, "context", "n_layer", "width")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: {self.dropout}: must be at least 0 and below 1")


class RecurrentState:
    """What the cells remember of B rows: (L, B, C) tensors, one of a GRU and two of an LSTM."""

    def __init__(self) -> None:
        self.tensors: tuple[Tensor, ...] = ()

    def select(self, rows: Tensor) -> None:
        """Keep `rows` (B',) of the batch, in that order."""
        self.tensors = tuple(tensor[:, rows] for tensor in self.tensors)


class Recurrent(nn.Module):
    """Embedding, recurrent layers, scores over the vocabulary.

    The embedding starts as N(0, 1/width), for the reason that the decoder's does; torch's start of
    the cells stays, but for the LSTM's forget gate: its bias of 1 lets a young cell remember
    (Jozefowicz et al. 2015).
    """

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.cells = make_cells(config.cell, config.width, config.n_layer, config.dropout)
        self.head = None if config.tied else nn.Linear(config.width, config.vocab_size, bias=False)
        for matrix in (self.embedding, self.head):
            if matrix is not None:
                nn.init.normal_(matrix.weight, std=config.width**-0.5)

    def hidden(
        self,
        ids: Int[Tensor, "B T"],
        *,
        is_token: Bool[Tensor, "B T"] | None = None,
        documents: Int[Tensor, "B T"] | None = None,
        state: RecurrentState | None = None,
    ) -> Float[Tensor, "B T C"]:
        """The states (B, T, C) of `ids` (B, T); padding and other texts of a row change nothing.

        `is_token` and `documents` as the decoder has them. With a `state` the ids continue what it
        remembers, and it is brought up to date.
        """
        x = self.dropout(self.embedding(ids))
        if is_token is None and documents is None:
            before = _unpack(state.tensors) if state is not None and state.tensors else None
            x, last = self.cells(x, before)
            after = _pack(last)
        else:
            assert state is None or not state.tensors
            x, after = self._apart(x, _labels(ids, is_token, documents))
        if state is not None:
            state.tensors = after
        return self.dropout(x)

    def logits(self, hidden: Float[Tensor, "*N C"]) -> Float[Tensor, "*N V"]:
        """Scores over the vocabulary (..., V) of states (..., C)."""
        weight = self.embedding.weight if self.head is None else self.head.weight
        return F.linear(hidden, weight)

    def forward(
        self,
        ids: Int[Tensor, "B T"],
        *,
        is_token: Bool[Tensor, "B T"] | None = None,
        documents: Int[Tensor, "B T"] | None = None,
        select: Bool[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "*N V"]:
        """Scores (B, T, V) of what follows each position, or (N, V) of those in `select`."""
        hidden = self.hidden(ids, is_token=is_token, documents=documents)
        return self.logits(hidden if select is None else hidden[select])

    def _apart(self, x: Tensor, labels: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Run each stretch of equal labels from an empty memory; -1 is read by nobody.

        Returns all states, zero where nothing was read, and each row's memory at its end.
        """
        rows, starts, lengths = _stretches(labels)
        pieces = [
            x[row, start : start + length]
            for row, start, length in zip(rows, starts, lengths, strict=True)
        ]
        packed = rnn.pack_sequence(pieces, enforce_sorted=False)
        output, after = self.cells(packed)
        read, _ = rnn.pad_packed_sequence(output, batch_first=True)
        result = x.new_zeros(x.shape)
        for i, (row, start, length) in enumerate(zip(rows, starts, lengths, strict=True)):
            result[row, start : start + length] = read[i, :length]
        ends = {row: i for i, row in enumerate(rows)}
        last = torch.tensor([ends[row] for row in range(len(x))], device=x.device)
        return result, tuple(tensor[:, last] for tensor in _pack(after))


def make_cells(
    cell: Literal["lstm", "gru"], width: int, n_layer: int, dropout: float
) -> nn.LSTM | nn.GRU:
    """torch's recurrent layers; between them drops `dropout` of the states."""
    kind = nn.LSTM if cell == "lstm" else nn.GRU
    between = dropout if n_layer > 1 else 0.0
    cells = kind(width, width, n_layer, batch_first=True, dropout=between)
    if cell == "lstm":
        for name, parameter in cells.named_parameters():
            if name.startswith("bias_ih"):  # gates in the order input, forget, cell, output
                with torch.no_grad():
                    parameter[width : 2 * width] = 1.0
    return cells


def _pack(last: Tensor | tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    """What cells remember as a tuple, of whichever kind they are."""
    return last if isinstance(last, tuple) else (last,)


def _unpack(tensors: tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
    first, *others = tensors
    return tensors if others else first


def _labels(ids: Tensor, is_token: Tensor | None, documents: Tensor | None) -> Tensor:
    labels = torch.zeros_like(ids) if documents is None else documents
    return labels if is_token is None else labels.masked_fill(~is_token, -1)


def _stretches(labels: Tensor) -> tuple[list[int], list[int], list[int]]:
    """(row, first place, length) of each run of equal labels that are not -1, in reading order."""
    rows, starts, lengths = [], [], []
    for row, line in enumerate(labels.tolist()):
        edges = [0, *(i for i in range(1, len(line)) if line[i] != line[i - 1]), len(line)]
        for start, stop in pairwise(edges):
            if line[start] != -1:
                rows.append(row)
                starts.append(start)
                lengths.append(stop - start)
    return rows, starts, lengths
