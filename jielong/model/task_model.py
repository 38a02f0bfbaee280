"""A language model with a head for one task, as GPT-1 was fine-tuned.

P(y | x_1 .. x_m) = softmax(h_m W_y), h_m the state of the last token      (Radford et al. 2018,
"Improving Language Understanding by Generative Pre-Training", eq. 3)
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from jielong.model.config import ModelConfig
from jielong.model.transformer import Transformer


class TaskModel(nn.Module):
    """Rows of one example, each read at its last token, become the scores of its answers.

    With `classes` the states of the rows are added and the head scores each class: one row, or two
    texts in both orders (ibid., figure 1). Without, each row is a choice, and the head scores it.
    The head starts as N(0, 0.02^2), as all of GPT-1's matrices did.
    """

    def __init__(self, config: ModelConfig, classes: int | None, dropout: float = 0.1) -> None:
        super().__init__()
        self.config, self.classes = config, classes
        self.trunk = Transformer(config)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(config.width, classes or 1)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(
        self,
        ids: Int[Tensor, "P K T"],
        lengths: Int[Tensor, "P K"],
        *,
        select: Bool[Tensor, "P K T"],
    ) -> tuple[Float[Tensor, "P Y"], Float[Tensor, "N V"]]:
        """Scores (P, Y) of the answers, and (N, V) of what follows the selected positions.

        Rows are padded on the right, where a causal model's padding changes nothing; a row of
        `lengths` 0 is no choice, and its score -inf.
        """
        states = self.trunk.hidden(ids.flatten(0, 1)).unflatten(0, ids.shape[:2])
        last = (lengths - 1).clamp(min=0)[..., None, None].expand(-1, -1, 1, states.shape[-1])
        ends = self.dropout(states.gather(2, last).squeeze(2))
        if self.classes is None:
            scores = self.head(ends).squeeze(-1).masked_fill(lengths == 0, -torch.inf)
        else:
            scores = self.head(ends.sum(dim=1))
        return scores, self.trunk.logits(states[select])
