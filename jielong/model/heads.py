"""One number from a transformer: the reward of an answer, or the value of each position.

Both are the same network. A reward model reads it at the last real token; a value network, which
starts as a copy of the reward model, reads it everywhere.
"""

import dataclasses

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from jielong.model.config import ModelConfig
from jielong.model.transformer import Transformer

SHARED = 32
"""Rows that share a forward when an end is read from each."""


class ScalarModel(nn.Module):
    """A decoder's states through a linear head, then shifted and scaled: (head(h) - shift) * scale.

    The head starts as N(0, 1/(C+1)) (arXiv:2009.01325, appendix B) so that first scores are of
    order one. `shift` and `scale` are set once after training, never learned: the
    ranking loss cannot see them, PPO can.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        # Nothing is read over the vocabulary: an untied output matrix would only be dead weight.
        self.config = dataclasses.replace(config, tied=True)
        self.trunk = Transformer(self.config)
        self.score = nn.Linear(config.width, 1)
        nn.init.normal_(self.score.weight, std=(config.width + 1) ** -0.5)
        nn.init.zeros_(self.score.bias)
        self.register_buffer("shift", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))

    def forward(
        self, ids: Int[Tensor, "B T"], *, is_token: Bool[Tensor, "B T"] | None = None
    ) -> Float[Tensor, "B T"]:
        """The number at each position, (B, T), of `ids` (B, T)."""
        raw = self.score(self.trunk.hidden(ids, is_token=is_token)).squeeze(-1)
        return (raw - self.shift) * self.scale

    def rewards(self, ids: Int[Tensor, "N T"], lengths: Int[Tensor, "N"]) -> Float[Tensor, "N"]:
        """The number at the last real token, (B,), of right-padded `ids` (B, T).

        `lengths` (B,) comes from how the rows were made; the ids are never searched for padding.
        Rows of like length share a forward, so that one long row does not lengthen all others.
        """
        order = lengths.argsort(stable=True)
        scores = []
        for rows in order.split(SHARED):
            values = self(ids[rows, : int(lengths[rows[-1]])])
            scores.append(values.gather(1, (lengths[rows] - 1)[:, None]).squeeze(1))
        return torch.cat(scores)[order.argsort()]

    @torch.no_grad()
    def calibrate(self, mean: float, std: float = 1.0) -> None:
        """Shift and scale: scores of this mean and deviation come to mean 0, deviation 1."""
        self.shift.add_(mean / float(self.scale))
        self.scale.div_(std)


def start_from(model: ScalarModel, decoder: Transformer) -> ScalarModel:
    """Copy a language model's weights into the trunk; the head stays as it was drawn."""
    weights = decoder.state_dict()
    model.trunk.load_state_dict({n: w for n, w in weights.items() if not n.startswith("head.")})
    return model
