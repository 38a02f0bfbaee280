"""Proximal policy optimisation for language models, as pure functions.

The policy maximises E[R - beta KL(pi || ref)] (arXiv:2203.02155, eq. 2) by the clipped surrogate of
arXiv:1707.06347. Tensors are (B, T) over response positions; `mask` (B, T) is True on the
response's own tokens, its <eos> included, False after it. Log-probabilities in nats.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from jielong.objectives.loss import Loss


def kl_estimates(
    logp: Float[Tensor, "*B"], logp_ref: Float[Tensor, "*B"], kind: str = "k1"
) -> Float[Tensor, "*B"]:
    """Per-token estimates of KL(pi || ref) from samples of pi (J. Schulman, 2020).

    k1 = log pi/ref is unbiased and may be negative; k2 = k1^2 / 2 is the one whose *gradient* is
    that of the KL; k3 = (e^-k1 - 1) + k1 is unbiased and never negative.
    """
    log_ratio = logp - logp_ref
    if kind == "k1":
        return log_ratio
    if kind == "k2":
        return 0.5 * log_ratio.square()
    if kind == "k3":
        return torch.expm1(-log_ratio) + log_ratio
    raise ValueError(f"kind: {kind!r}: choose k1, k2 or k3")


def token_rewards(
    scores: Float[Tensor, "B"],
    logp_old: Float[Tensor, "B T"],
    logp_ref: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    beta: float,
) -> Float[Tensor, "B T"]:
    """r_t = -beta (logp_old - logp_ref)_t + 1[t is the last real token] * score, (B, T).

    The score (B,) lands on the last token the policy chose (its <eos>, or the last token of an
    answer that was cut): one slot later it would be discounted through a value nobody predicted.
    """
    rewards = -beta * kl_estimates(logp_old, logp_ref) * mask
    last = mask.sum(dim=1).clamp(min=1) - 1
    has_tokens = mask.any(dim=1)
    return rewards.scatter_add(1, last[:, None], (scores * has_tokens)[:, None])


def advantages_and_returns(
    rewards: Float[Tensor, "B T"],
    values: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    gamma: float,
    lam: float,
) -> tuple[Float[Tensor, "B T"], Float[Tensor, "B T"]]:
    """Generalised advantage estimation, (B, T) each.

    delta_t = r_t + gamma V_{t+1} - V_t;  A_t = delta_t + gamma lam A_{t+1}  (arXiv:1506.02438,
    eqs. 11, 16). V after the last action is 0, whether the answer ended or was cut. Returns are
    A + V, the targets of the value network, taken before any whitening.
    """
    advantages = torch.zeros_like(rewards)
    following = torch.zeros_like(rewards[:, 0])
    next_value = torch.zeros_like(rewards[:, 0])
    for t in range(rewards.shape[1] - 1, -1, -1):
        # Between two turns of the policy stand tokens of others: they are stepped over.
        own = mask[:, t]
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        following = torch.where(own, delta + gamma * lam * following, following)
        next_value = torch.where(own, values[:, t], next_value)
        advantages[:, t] = following
    return advantages.where(mask, 0), (advantages + values).where(mask, 0)


def whiten(values: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """Subtract the mean and divide by the (biased) standard deviation over the masked entries."""
    # In double precision: the rounding of equal values must not be blown up to a signal.
    count = mask.sum().clamp(min=1)
    mean = (values.double() * mask).sum() / count
    centred = (values - mean) * mask
    variance = centred.square().sum() / count
    return (centred * torch.rsqrt(variance + 1e-8)).to(values.dtype)


class PolicyTerms(NamedTuple):
    """Sums over response tokens: the loss, and what tells whether the step is sound."""

    loss: Tensor
    clipped: Tensor
    approx_kl: Tensor
    ratio_max: Tensor


def policy_loss(
    logp: Float[Tensor, "B T"],
    logp_old: Float[Tensor, "B T"],
    advantages: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    clip: float,
) -> PolicyTerms:
    """-min(rho A, clip(rho, 1 - clip, 1 + clip) A) summed over tokens (arXiv:1707.06347, eq. 7)."""
    log_ratio = (logp - logp_old) * mask
    ratio = log_ratio.exp()
    clamped = ratio.clamp(1 - clip, 1 + clip)
    surrogate = torch.minimum(ratio * advantages, clamped * advantages)
    with torch.no_grad():
        clipped = ((clamped * advantages < ratio * advantages) & mask).sum().float()
        approx_kl = (kl_estimates(logp_old, logp, "k3") * mask).sum()
        ratio_max = torch.where(mask, ratio, torch.ones_like(ratio)).max()
    return PolicyTerms(-(surrogate * mask).sum(), clipped, approx_kl, ratio_max)


def value_loss(
    values: Float[Tensor, "B T"],
    old_values: Float[Tensor, "B T"],
    returns: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    clip: float,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """The clipped squared error of the values and how many were clipped, as sums.

    0.5 max((V - ret)^2, (clip(V, V_old - clip, V_old + clip) - ret)^2)

    The larger error is taken, so a value gains nothing by leaping past its clip range
    (openai/baselines, ppo2).
    """
    near = old_values + (values - old_values).clamp(-clip, clip)
    plain, limited = (values - returns).square(), (near - returns).square()
    clipped = ((limited > plain) & mask).sum().float()
    return 0.5 * (torch.maximum(plain, limited) * mask).sum(), clipped


class PPOBatch(NamedTuple):
    """One minibatch of frozen experience, everything (B, T) over response positions."""

    logp_old: Tensor
    values_old: Tensor
    advantages: Tensor
    returns: Tensor
    mask: Tensor


def ppo_loss(
    logp: Tensor,
    values: Tensor,
    batch: PPOBatch,
    clip: float,
    value_clip: float,
    value_weight: float,
) -> Loss:
    """Policy and value losses together, summed over response tokens.

    Dividing by the token count of the whole optimizer step is the loop's: averaging averages would
    weigh short answers more in small minibatches.
    """
    policy = policy_loss(logp, batch.logp_old, batch.advantages, batch.mask, clip)
    value, value_clipped = value_loss(
        values, batch.values_old, batch.returns, batch.mask, value_clip
    )
    return Loss(
        policy.loss + value_weight * value,
        batch.mask.sum().float(),
        {
            "policy_loss": policy.loss.detach(),
            "value_loss": value.detach(),
            "clip_share": policy.clipped,
            "value_clip_share": value_clipped,
            "approx_kl_nats": policy.approx_kl,
            "ratio_max": policy.ratio_max,
        },
    )


def adapt_beta(beta: float, kl: float, target: float, episodes: int, horizon: int) -> float:
    """beta (1 + clip(KL / target - 1, -0.2, 0.2) n / horizon)  (arXiv:1909.08593, sec. 2.2)."""
    error = min(max(kl / target - 1, -0.2), 0.2)
    return beta * (1 + error * episodes / horizon)
