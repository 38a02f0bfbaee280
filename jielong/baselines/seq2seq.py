"""Sequence to sequence: one recurrent network reads a sentence, another writes its counterpart.

Without attention all that is known of the source passes through the reader's last state (Sutskever
et al., arXiv:1409.3215, eq. 1; Cho et al., arXiv:1406.1078). With attention the writer looks back
at every state of the reader, at each step (Bahdanau et al., arXiv:1409.0473), here in the global,
"general" form of Luong et al. (arXiv:1508.04025, section 3.1, eqs. 5 and 7):

    a_t(s) = softmax_s( h_t^T W s )      c_t = sum_s a_t(s) s      h~_t = tanh(W_c [c_t; h_t])

Targets are shifted right: the writer is given what stands before and predicts what comes next.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import rnn

from jielong.core.config import check_positive


@dataclass(frozen=True, kw_only=True)
class Seq2SeqConfig:
    """`context` is the most tokens of either side. `vocab_size` is 0 in a recipe: the tokenizer
    tells it."""

    vocab_size: int = 0
    context: int
    width: int
    attention: bool
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Refuse shapes that cannot be built; the message begins with the setting's name."""
        check_positive(self, "context")
        if self.width < 2 or self.width % 2:
            raise ValueError(f"width: {self.width}: must be even: half of it reads each way")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: {self.dropout}: must be at least 0 and below 1")


@dataclass
class Source:
    """A batch of sentences as they were read: `states` (B, S, C), which `is_token` (B, S) count,
    and the writer's `memory` (1, B, C)."""

    states: Tensor
    is_token: Tensor
    memory: Tensor

    def row(self, row: int) -> "Source":
        """One sentence by itself."""
        one = slice(row, row + 1)
        return Source(self.states[one], self.is_token[one], self.memory[:, one])

    def select(self, rows: Tensor) -> None:
        """Keep `rows` (B',) of the batch, in that order."""
        self.states, self.is_token = self.states[rows], self.is_token[rows]
        self.memory = self.memory[:, rows]


class Seq2Seq(nn.Module):
    """A GRU that reads both ways, and a GRU that writes; one embedding for both and for the scores.

    The two differ in nothing but `attend` and `combine`, which are there only with attention.
    """

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.embedding = nn.Embedding(config.vocab_size, width)
        self.dropout = nn.Dropout(config.dropout)
        self.reader = nn.GRU(width, width // 2, batch_first=True, bidirectional=True)
        self.bridge = nn.Linear(width, width)
        self.writer = nn.GRU(width, width, batch_first=True)
        if config.attention:
            self.attend = nn.Linear(width, width, bias=False)
            self.combine = nn.Linear(2 * width, width, bias=False)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)

    def read(self, source: Int[Tensor, "B S"], is_token: Bool[Tensor, "B S"]) -> Source:
        """Read sentences (B, S); `is_token` is False on padding, left or right."""
        rows = [line[kept] for line, kept in zip(source, is_token, strict=True)]
        lengths = torch.tensor([len(row) for row in rows])
        tight = rnn.pad_sequence(rows, batch_first=True)
        x = self.dropout(self.embedding(tight))
        packed = rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        output, last = self.reader(packed)
        states, _ = rnn.pad_packed_sequence(output, batch_first=True)
        counts = torch.arange(tight.shape[1]) < lengths[:, None]
        both_ways = torch.cat([last[0], last[1]], dim=-1)
        memory = torch.tanh(self.bridge(both_ways))
        return Source(self.dropout(states), counts.to(source.device), memory[None])

    def write(self, target: Int[Tensor, "B T"], source: Source) -> Float[Tensor, "B T C"]:
        """The states (B, T, C) after each token of `target`; the source's memory moves on."""
        x = self.dropout(self.embedding(target))
        h, source.memory = self.writer(x, source.memory)
        if self.config.attention:
            scores = self.attend(h) @ source.states.transpose(1, 2)  # (B, T, S)
            scores = scores.masked_fill(~source.is_token[:, None, :], -torch.inf)
            context = scores.softmax(dim=-1) @ source.states
            h = torch.tanh(self.combine(torch.cat([context, h], dim=-1)))
        return self.dropout(h)

    def logits(self, hidden: Float[Tensor, "*N C"]) -> Float[Tensor, "*N V"]:
        """Scores over the vocabulary (..., V) of states (..., C)."""
        return F.linear(hidden, self.embedding.weight)

    def forward(
        self,
        source: Int[Tensor, "B S"],
        target: Int[Tensor, "B T"],
        *,
        source_is_token: Bool[Tensor, "B S"],
        select: Bool[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "*N V"]:
        """Scores of what follows each token of `target`: (B, T, V), or (N, V) of those `select`ed.

        `source_is_token` (B, S) is False on the source's padding.
        """
        hidden = self.write(target, self.read(source, source_is_token))
        return self.logits(hidden if select is None else hidden[select])
