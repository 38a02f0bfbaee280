"""Rollouts with everything PPO freezes before it learns from them.

    rollouts -> log-probabilities of the policy and of the reference, values -> rewards per token
    -> advantages and returns

Old log-probabilities come from the same forward pass that training uses, never from the sampler:
two ways of computing one number differ, and the first ratio would then not be one.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from jielong.generation.rollouts import Rollouts
from jielong.model.actor_critic import ActorCritic
from jielong.model.transformer import Transformer
from jielong.objectives.loss import Loss, token_logp
from jielong.objectives.ppo import (
    PPOBatch,
    advantages_and_returns,
    ppo_loss,
    token_rewards,
    whiten,
)


@dataclass(frozen=True, kw_only=True)
class PPOSettings:
    """The numbers of the algorithm; the KL is in nats, `temperature` is the sampler's."""

    beta: float = 0.2
    gamma: float = 1.0
    lam: float = 0.95
    clip: float = 0.2
    value_clip: float = 0.2
    value_weight: float = 1.0
    whiten_advantages: bool = True
    temperature: float = 1.0
    micro_batch: int = 64


@dataclass(frozen=True)
class Experience:
    """B rollouts with frozen `batch` (B, R), and per-sequence figures for the log.

    `kl` (B,) sums log ratios of the sampled tokens; `exact_kl` (B,) sums the KL over the whole
    vocabulary at each of their positions: the same expectation without the sampling noise.
    """

    rollouts: Rollouts
    batch: PPOBatch
    scores: Tensor
    kl: Tensor
    exact_kl: Tensor
    entropy: Tensor
    rewards: Tensor

    def select(self, rows: Tensor) -> "Experience":
        """The experience of some rows."""
        return Experience(
            self.rollouts.select(rows),
            PPOBatch(*(tensor[rows] for tensor in self.batch)),
            *(
                tensor[rows]
                for tensor in (self.scores, self.kl, self.exact_kl, self.entropy, self.rewards)
            ),
        )

    def portions(self, most: int) -> "list[Experience]":
        """The same in pieces of at most `most` rows."""
        return [self.select(rows) for rows in torch.arange(len(self.scores)).split(most)]


@torch.no_grad()
def freeze(
    module: ActorCritic,
    reference: Transformer,
    rollouts: Rollouts,
    scores: Tensor,
    settings: PPOSettings,
) -> Experience:
    """Compute what stays fixed while the policy learns from `rollouts` scored `scores` (B,)."""
    pieces = []
    for part in _split(rollouts, settings.micro_batch):
        logits, values = module(part.ids[:, :-1], select=part.chosen)
        logits = logits / settings.temperature
        probabilities = logits.softmax(dim=-1)
        entropy = torch.logsumexp(logits, dim=-1) - (probabilities * logits).sum(dim=-1)
        reference_logits = reference(part.ids[:, :-1], select=part.chosen) / settings.temperature
        logp_ref = token_logp(reference_logits, part.targets)
        gap = logits.log_softmax(dim=-1) - reference_logits.log_softmax(dim=-1)
        exact_kl = (probabilities * gap).sum(dim=-1)
        pieces.append((token_logp(logits, part.targets), logp_ref, values, entropy, exact_kl))
    flat = (torch.cat(column) for column in zip(*pieces, strict=True))
    logp_old, logp_ref, values, entropy, exact_kl = (rollouts.spread(column) for column in flat)
    mask = rollouts.mask
    rewards = token_rewards(scores, logp_old, logp_ref, mask, settings.beta)
    advantages, returns = advantages_and_returns(
        rewards, values, mask, settings.gamma, settings.lam
    )
    if settings.whiten_advantages:
        advantages = whiten(advantages, mask)
    kl = ((logp_old - logp_ref) * mask).sum(dim=1)
    return Experience(
        rollouts,
        PPOBatch(logp_old, values, advantages, returns, mask),
        scores,
        kl,
        exact_kl.sum(dim=1),
        entropy.sum(dim=1) / mask.sum(dim=1),
        rewards,
    )


def ppo_objective(settings: PPOSettings):  # noqa: ANN201 - an objective of the training loop
    """The loss of a minibatch of experience, as the training loop wants it."""

    def objective(module: ActorCritic, experience: Experience) -> Loss:
        rollouts = experience.rollouts
        logits, values = module(rollouts.ids[:, :-1], select=rollouts.chosen)
        logp = token_logp(logits / settings.temperature, rollouts.targets)
        return ppo_loss(
            rollouts.spread(logp),
            rollouts.spread(values),
            experience.batch,
            settings.clip,
            settings.value_clip,
            settings.value_weight,
        )

    return objective


def _split(rollouts: Rollouts, size: int) -> Iterator[Rollouts]:
    for rows in torch.arange(len(rollouts.texts)).split(size):
        yield rollouts.select(rows)
