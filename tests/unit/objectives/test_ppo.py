import itertools
import math

import pytest
import torch
from torch import Tensor

from jielong.objectives.ppo import (
    PPOBatch,
    adapt_beta,
    advantages_and_returns,
    kl_estimates,
    policy_loss,
    ppo_loss,
    token_rewards,
    value_loss,
    whiten,
)

F64 = torch.float64


def t(*values: object) -> Tensor:
    return torch.tensor(values, dtype=F64)


def lengths_mask(*lengths: int) -> Tensor:
    return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


# Rewards per token


def test_K1_rewards_by_hand() -> None:
    """Three tokens, the last is <eos>; and an answer of one token."""
    logp, ref = t([-1.0, -2.0, -0.5], [-1.0, 9, 9]), t([-1.5, -1.0, -0.5], [-3.0, 7, 7])
    mask = lengths_mask(3, 1)
    rewards = token_rewards(t(5.0, -1.0), logp, ref, mask, beta=0.1)
    expected = t([-0.1 * 0.5, -0.1 * -1.0, 5.0], [-0.1 * 2 - 1.0, 0, 0])
    torch.testing.assert_close(rewards, expected)


def test_K1_rewards_sum_to_the_score_less_beta_kl() -> None:
    logp, ref, scores = draw(4, 6), draw(4, 6, seed=1), draw(4, seed=2)
    mask = lengths_mask(6, 3, 1, 5)
    rewards = token_rewards(scores, logp, ref, mask, beta=0.3)
    kl = torch.stack([(logp - ref)[i, :n].sum() for i, n in enumerate((6, 3, 1, 5))])
    torch.testing.assert_close(rewards.sum(dim=1), scores - 0.3 * kl)
    assert not rewards[~mask].any()


def test_K1_an_answer_without_tokens_gets_nothing() -> None:
    mask = torch.zeros(1, 3, dtype=torch.bool)
    assert not token_rewards(t(5.0), draw(1, 3), draw(1, 3, seed=1), mask, beta=0.1).any()


def test_P4_equal_policies_leave_the_score_alone() -> None:
    logp, mask = draw(3, 5), lengths_mask(5, 2, 4)
    assert not kl_estimates(logp, logp).any()
    rewards = token_rewards(t(1.0, -2.0, 0.5), logp, logp, mask, beta=9.0)
    assert rewards.sum(dim=1).tolist() == [1.0, -2.0, 0.5]


# Estimates of the KL divergence, over a vocabulary small enough to enumerate


def vocabulary(seed: int) -> Tensor:
    return draw(16, seed=seed)


def exact_kl(logits: Tensor, ref: Tensor) -> Tensor:
    logp, logq = logits.log_softmax(-1), ref.log_softmax(-1)
    return (logp.exp() * (logp - logq)).sum()


def test_K2_k1_and_k3_are_unbiased() -> None:
    logp, ref = vocabulary(0).log_softmax(-1), vocabulary(1).log_softmax(-1)
    exact = exact_kl(logp, ref).item()
    draws = torch.multinomial(
        logp.exp(), 40_000, replacement=True, generator=torch.Generator().manual_seed(2)
    )
    for kind in ("k1", "k3"):
        in_expectation = (logp.exp() * kl_estimates(logp, ref, kind)).sum()
        assert math.isclose(in_expectation.item(), exact, rel_tol=1e-12)
        sampled = kl_estimates(logp[draws], ref[draws], kind)
        error = sampled.std().item() / len(draws) ** 0.5
        assert abs(sampled.mean().item() - exact) < 3 * error
    assert kl_estimates(logp, ref, "k3").min() >= 0
    assert kl_estimates(logp, ref, "k1").min() < 0  # what a single token may well be


def test_K2_the_gradient_of_k2_is_that_of_the_kl_and_k1s_is_nothing() -> None:
    """E_pi[d k / d theta]: the expectation is over fixed samples, the derivative is of the loss."""
    ref = vocabulary(1).log_softmax(-1)

    def expected_gradient(kind: str) -> Tensor:
        logits = vocabulary(0).requires_grad_()
        logp = logits.log_softmax(-1)
        (logp.detach().exp() * kl_estimates(logp, ref, kind)).sum().backward()
        return logits.grad

    def gradient_of(kl: object) -> Tensor:
        logits = vocabulary(0).requires_grad_()
        kl(logits).backward()
        return logits.grad

    forward = gradient_of(lambda logits: exact_kl(logits, ref))
    backward = gradient_of(lambda logits: exact_kl(ref, logits))
    torch.testing.assert_close(expected_gradient("k2"), forward, atol=1e-12, rtol=0)
    torch.testing.assert_close(
        expected_gradient("k1"), torch.zeros(16, dtype=F64), atol=1e-12, rtol=0
    )
    torch.testing.assert_close(expected_gradient("k3"), backward, atol=1e-12, rtol=0)
    assert (forward - backward).abs().max() > 1e-2


def test_K2_an_unknown_estimate_is_refused() -> None:
    with pytest.raises(ValueError, match="kind: 'k4': choose k1, k2 or k3"):
        kl_estimates(t(0.0), t(0.0), "k4")


def test_K3_beta_follows_the_distance_to_its_target() -> None:
    """arXiv:1909.08593: the error is KL / target - 1, at most 0.2 either way."""
    assert adapt_beta(0.1, 6.0, 6.0, 512, 10_000) == 0.1
    assert math.isclose(adapt_beta(0.1, 6.6, 6.0, 500, 10_000), 0.1 * (1 + 0.1 * 0.05))
    for kl in (7.2, 60.0):
        assert math.isclose(adapt_beta(0.1, kl, 6.0, 500, 10_000), 0.1 * (1 + 0.2 * 0.05))
    for kl in (4.8, 0.0, -3.0):
        assert math.isclose(adapt_beta(0.1, kl, 6.0, 500, 10_000), 0.1 * (1 - 0.2 * 0.05))


# Advantages


def brute_force(rewards: list[float], values: list[float], gamma: float, lam: float) -> list[float]:
    """A_t = sum over l of (gamma lam)^l delta_{t+l}: the double sum, term by term."""
    after = [*values[1:], 0.0]
    deltas = [r + gamma * n - v for r, n, v in zip(rewards, after, values, strict=True)]
    return [
        sum((gamma * lam) ** (s - i) * deltas[s] for s in range(i, len(deltas)))
        for i in range(len(deltas))
    ]


@pytest.mark.parametrize("gamma", [1.0, 0.9])
@pytest.mark.parametrize("lam", [0.0, 0.95, 1.0])
def test_G1_equals_the_double_sum(gamma: float, lam: float) -> None:
    rewards, values, mask = draw(4, 7), draw(4, 7, seed=1), lengths_mask(7, 4, 1, 6)
    advantages, _ = advantages_and_returns(rewards, values, mask, gamma, lam)
    for i, n in enumerate((7, 4, 1, 6)):
        expected = brute_force(rewards[i, :n].tolist(), values[i, :n].tolist(), gamma, lam)
        torch.testing.assert_close(advantages[i, :n], t(*expected))
    assert not advantages[~mask].any()


def test_G1_the_ends_of_lambda() -> None:
    rewards, values, mask = draw(1, 5), draw(1, 5, seed=1), lengths_mask(5)
    whole, _ = advantages_and_returns(rewards, values, mask, 1.0, 1.0)
    step, _ = advantages_and_returns(rewards, values, mask, 1.0, 0.0)
    ahead = rewards.flip(1).cumsum(1).flip(1)
    torch.testing.assert_close(whole, ahead - values)
    following = torch.cat([values[:, 1:], torch.zeros(1, 1, dtype=F64)], dim=1)
    torch.testing.assert_close(step, rewards + following - values)


@pytest.mark.parametrize("junk", [100.0, math.nan])
def test_G1_masked_values_change_nothing(junk: float) -> None:
    rewards, values, mask = draw(2, 6), draw(2, 6, seed=1), lengths_mask(6, 3)
    plain = advantages_and_returns(rewards, values, mask, 1.0, 0.95)
    values, rewards = values.masked_fill(~mask, junk), rewards.masked_fill(~mask, junk)
    changed = advantages_and_returns(rewards, values, mask, 1.0, 0.95)
    assert all(torch.equal(a, b) for a, b in zip(plain, changed, strict=True))


def test_G1_a_turn_of_the_user_is_stepped_over() -> None:
    """Tokens of others between two turns: the first turn's end looks to the second's beginning."""
    rewards, values = draw(1, 6), draw(1, 6, seed=1)
    mask = torch.tensor([[False, True, True, False, False, True]])
    advantages, returns = advantages_and_returns(rewards, values, mask, 0.9, 0.95)
    own = mask[0]
    expected = t(*brute_force(rewards[0, own].tolist(), values[0, own].tolist(), 0.9, 0.95))
    torch.testing.assert_close(advantages[0, own], expected)
    torch.testing.assert_close(returns[0, own], expected + values[0, own])
    assert not advantages[~mask].any()
    assert not returns[~mask].any()


def test_G2_returns_are_advantages_and_values_before_whitening() -> None:
    rewards, values, mask = draw(3, 5), draw(3, 5, seed=1), lengths_mask(5, 2, 4)
    advantages, returns = advantages_and_returns(rewards, values, mask, 1.0, 0.95)
    torch.testing.assert_close(returns, (advantages + values) * mask)


def test_G3_whitening_by_hand() -> None:
    """1, 3, 3, 5 have mean 3 and biased variance 2; what is masked counts nowhere."""
    values = t([1.0, 3.0, 50.0], [3.0, 5.0, -50.0])
    mask = torch.tensor([[True, True, False], [True, True, False]])
    expected = t([-2.0, 0, 0], [0, 2, 0]) / 2**0.5
    torch.testing.assert_close(whiten(values, mask), expected, atol=1e-7, rtol=0)


def test_G3_whitened_advantages_have_mean_0_and_variance_1() -> None:
    for shift in (0.0, 5.0):  # an all-positive input goes down, not up
        values, mask = draw(8, 9) + shift, lengths_mask(9, 1, 4, 9, 2, 7, 3, 5)
        white = whiten(values, mask)
        assert abs(white[mask].mean().item()) < 1e-6
        assert math.isclose(white[mask].var(correction=0).item(), 1, rel_tol=1e-6)
        assert not white[~mask].any()


@pytest.mark.parametrize("value", [0.0, 0.1, 1.7, -3.0, 1000.1])
def test_G3_equal_advantages_become_nothing(value: float) -> None:
    mask = lengths_mask(*range(1, 41))
    white = whiten(torch.full((40, 40), value), mask)
    torch.testing.assert_close(white, torch.zeros(40, 40), atol=1e-6, rtol=0)
    assert not whiten(torch.full((2, 2), value), torch.zeros(2, 2, dtype=torch.bool)).any()


# The clipped surrogate


def surrogate_gradient(ratio: float, advantage: float) -> tuple[float, float, float]:
    """(loss, d loss / d logp, clipped) of one token with clip 0.2."""
    logp = t([math.log(ratio)]).requires_grad_()
    terms = policy_loss(logp, t([0.0]), t([advantage]), torch.ones(1, 1, dtype=torch.bool), 0.2)
    terms.loss.backward()
    return terms.loss.item(), logp.grad.item(), terms.clipped.item()


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient", "clipped"),
    [
        (1.0, 2.0, -2.0, -2.0, 0),  # at 1 it is the policy gradient
        (1.1, 2.0, -2.2, -2.2, 0),
        (1.3, 2.0, -2.4, 0.0, 1),  # far enough up already
        (0.5, 2.0, -1.0, -1.0, 0),  # down is never clipped when it was good
        (0.5, -2.0, 1.6, 0.0, 1),
        (1.3, -2.0, 2.6, 2.6, 0),
    ],
)
def test_L1_the_clipped_surrogate_by_hand(
    ratio: float, advantage: float, loss: float, gradient: float, clipped: int
) -> None:
    assert surrogate_gradient(ratio, advantage) == pytest.approx((loss, gradient, clipped))


def test_L1_at_ratio_one_the_gradient_is_the_policy_gradient() -> None:
    """d/d theta of -sum A log pi, over the logits of a whole answer."""
    logits, advantages, mask = draw(2, 3, 7), draw(2, 3, seed=1), lengths_mask(3, 2)
    tokens = torch.tensor([[0, 6, 2], [3, 3, 1]])

    def logp(scores: Tensor) -> Tensor:
        return scores.log_softmax(-1).gather(-1, tokens[..., None])[..., 0]

    one, other = (logits.clone().requires_grad_() for _ in range(2))
    policy_loss(logp(one), logp(one).detach(), advantages, mask, 0.2).loss.backward()
    (-(logp(other) * advantages * mask).sum()).backward()
    torch.testing.assert_close(one.grad, other.grad)


def test_L1_what_is_watched_beside_the_loss() -> None:
    old, mask = t([-1.0, -1.0, -1.0, 5.0]), lengths_mask(3, 4)[:1]
    new = old + t(0.5, -0.1, -0.5, 9.0)
    terms = policy_loss(new, old, t([1.0, 1.0, -1.0, 1.0]), mask, 0.2)
    k3 = [math.exp(d) - 1 - d for d in (0.5, -0.1, -0.5)]
    assert terms.clipped.item() == 2
    assert math.isclose(terms.approx_kl.item(), sum(k3), rel_tol=1e-9)
    assert math.isclose(terms.ratio_max.item(), math.exp(0.5), rel_tol=1e-9)


@pytest.mark.parametrize(
    ("value", "old", "target", "loss", "gradient", "clipped"),
    [
        (1.1, 1.0, 2.0, 0.5 * 0.81, -0.9, 0),  # inside the range: plain
        (1.5, 1.0, 2.0, 0.5 * 0.64, 0.0, 1),  # leapt up towards it: held at 1.2
        (0.5, 1.0, 0.0, 0.5 * 0.64, 0.0, 1),  # and down: held at 0.8
        (1.5, 1.0, 0.0, 0.5 * 2.25, 1.5, 0),  # leapt away: pays in full
        (0.5, 1.0, 2.0, 0.5 * 2.25, -1.5, 0),
    ],
)
def test_L2_the_clipped_value_loss_by_hand(
    value: float, old: float, target: float, loss: float, gradient: float, clipped: int
) -> None:
    values = t([value]).requires_grad_()
    mask = torch.ones(1, 1, dtype=torch.bool)
    total, count = value_loss(values, t([old]), t([target]), mask, 0.2)
    total.backward()
    found = (total.item(), values.grad.item(), count.item())
    assert found == pytest.approx((loss, gradient, clipped))


def test_L2_masked_values_cost_nothing() -> None:
    mask = lengths_mask(1, 3)[:1]
    total, count = value_loss(t([1, 90, 90]), t([1, 0, 0]), t([3, -9, 9]), mask, 5.0)
    assert (total.item(), count.item()) == (2.0, 0)


# The whole loss


def batch(seed: int = 0) -> tuple[Tensor, Tensor, PPOBatch]:
    logp, values, old, old_values, advantages, returns = draw(6, 3, 4, seed=seed)
    mask = lengths_mask(4, 2, 3)
    return logp, values, PPOBatch(old, old_values, advantages, returns, mask)


def test_L3_the_loss_is_a_sum_over_response_tokens() -> None:
    logp, values, frozen = batch()
    loss = ppo_loss(logp, values, frozen, clip=0.2, value_clip=0.3, value_weight=0.5)
    total, clipped = 0.0, 0
    for i, k in itertools.product(range(3), range(4)):
        if not frozen.mask[i, k]:
            continue
        ratio = math.exp(logp[i, k] - frozen.logp_old[i, k])
        a = frozen.advantages[i, k].item()
        bounded = min(max(ratio, 0.8), 1.2)
        total -= min(ratio * a, bounded * a)
        clipped += bounded * a < ratio * a
        v, before, r = (x[i, k].item() for x in (values, frozen.values_old, frozen.returns))
        near = before + min(max(v - before, -0.3), 0.3)
        total += 0.5 * 0.5 * max((v - r) ** 2, (near - r) ** 2)
    assert math.isclose(loss.total.item(), total, rel_tol=1e-9)
    assert loss.items.item() == 9
    assert loss.metrics["clip_share"].item() == clipped


def test_L3_minibatches_add_up() -> None:
    logp, values, frozen = batch()
    whole = ppo_loss(logp, values, frozen, 0.2, 0.3, 0.5)
    rows = [
        ppo_loss(
            logp[i : i + 1],
            values[i : i + 1],
            PPOBatch(*(x[i : i + 1] for x in frozen)),
            0.2,
            0.3,
            0.5,
        )
        for i in range(3)
    ]
    torch.testing.assert_close(sum(loss.total for loss in rows), whole.total)
    assert sum(loss.items for loss in rows) == whole.items


def test_P6_what_stands_after_the_end_changes_nothing() -> None:
    def results(junk: float) -> list[Tensor]:
        logp, values, frozen = batch()
        outside = ~frozen.mask
        logp, values, *rest = (x.masked_fill(outside, junk) for x in (logp, values, *frozen[:4]))
        logp.requires_grad_()
        values.requires_grad_()
        loss = ppo_loss(logp, values, PPOBatch(*rest, frozen.mask), 0.2, 0.3, 0.5)
        loss.total.backward()
        return [loss.total.detach(), loss.items, *loss.metrics.values(), logp.grad, values.grad]

    for one, other in zip(results(0.0), results(7.0), strict=True):
        assert torch.equal(one, other)


def test_K4_padding_changes_no_sum() -> None:
    """Twice as wide rows: the same rewards, advantages, whitened advantages and loss."""
    logp, ref, values = draw(3, 4), draw(3, 4, seed=1), draw(3, 4, seed=2)
    mask, scores = lengths_mask(4, 2, 3), draw(3, seed=3)

    def figures(width: int) -> list[float]:
        def wide(x: Tensor) -> Tensor:
            return torch.nn.functional.pad(x, (0, width - 4))

        m = wide(mask)
        rewards = token_rewards(scores, wide(logp), wide(ref), m, 0.2)
        advantages, returns = advantages_and_returns(rewards, wide(values), m, 1.0, 0.95)
        advantages = whiten(advantages, m)
        frozen = PPOBatch(wide(logp), wide(values), advantages, returns, m)
        loss = ppo_loss(wide(ref), wide(values + 0.1), frozen, 0.2, 0.2, 1.0)
        numbers = [loss.total, loss.items, *loss.metrics.values(), rewards.sum(), returns.sum()]
        return [number.item() for number in numbers]

    assert figures(4) == pytest.approx(figures(8), rel=1e-12)
