"""Generalised advantage estimation against its definition, for any lengths, turns and discounts."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from jielong.objectives.ppo import advantages_and_returns


@given(
    st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=4),
    st.floats(0, 1),
    st.floats(0, 1),
    st.integers(0, 10_000),
)
def test_advantages_are_the_double_sum(
    turns: list[list[bool]], gamma: float, lam: float, seed: int
) -> None:
    """A_t = sum over own tokens s from t on of (gamma lam)^(s - t) delta_s; others do not count."""
    random = torch.Generator().manual_seed(seed)
    mask = torch.tensor(turns)
    rewards, values = torch.randn(2, *mask.shape, dtype=torch.float64, generator=random)
    advantages, returns = advantages_and_returns(rewards, values, mask, gamma, lam)
    assert not advantages[~mask].any()
    for row, own in enumerate(mask):
        r, v = rewards[row, own], values[row, own]
        delta = r + gamma * torch.cat([v[1:], v.new_zeros(1)])[: len(v)] - v
        steps = torch.arange(len(v))
        distance = steps[None, :] - steps[:, None]
        weights = torch.where(distance >= 0, (gamma * lam) ** distance.clamp(min=0), 0.0)
        expected = weights.double() @ delta
        torch.testing.assert_close(advantages[row, own], expected)
        torch.testing.assert_close(returns[row, own], expected + v)
