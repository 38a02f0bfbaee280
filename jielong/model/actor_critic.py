"""What PPO moves: a policy, a value network of its own, and a running average of the policy."""

import copy

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from jielong.model.heads import ScalarModel
from jielong.model.transformer import Transformer


class ActorCritic(nn.Module):
    """Policy and value share no weights; `average` follows the policy and takes no gradient."""

    def __init__(self, policy: Transformer, value: ScalarModel) -> None:
        super().__init__()
        # With dropout old and new log-probabilities would be two functions, and no ratio be one.
        assert policy.config.dropout == value.config.dropout == 0, "PPO takes no dropout"
        self.policy = policy
        self.value = value
        self.average = copy.deepcopy(policy).requires_grad_(False)

    def forward(
        self, ids: Int[Tensor, "B T"], *, select: Bool[Tensor, "B T"]
    ) -> tuple[Float[Tensor, "N V"], Float[Tensor, "N"]]:
        """Scores (N, V) and values (N,) at the selected positions (B, T) of `ids` (B, T).

        At the position before a token stand the state it was chosen in, and that state's value.
        """
        return self.policy(ids, select=select), self.value(ids)[select]

    @torch.no_grad()
    def follow(self, decay: float) -> None:
        """average <- decay * average + (1 - decay) * policy."""
        for mean, now in zip(self.average.parameters(), self.policy.parameters(), strict=True):
            mean.lerp_(now, 1 - decay)
