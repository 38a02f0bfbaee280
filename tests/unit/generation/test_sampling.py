import math

import pytest
import torch

from jielong.core.errors import ConfigError
from jielong.generation.sampling import Sampling, choose, keep_top_k, keep_top_p

INF = torch.inf


def scores(*probabilities: float) -> torch.Tensor:
    return torch.tensor([probabilities]).log()


def kept(filtered: torch.Tensor) -> list[int]:
    return filtered[0].isfinite().nonzero().flatten().tolist()


def test_top_k_by_hand() -> None:
    row = torch.tensor([[1.0, 4.0, 2.0, 3.0]])
    assert keep_top_k(row, 2).tolist() == [[-INF, 4, -INF, 3]]
    assert keep_top_k(row, 99).tolist() == row.tolist()


@pytest.mark.parametrize(
    ("p", "tokens"),
    [(0.3, [2]), (0.5, [2]), (0.51, [2, 0]), (0.81, [2, 0, 3]), (0.99, [2, 0, 3, 1]), (0.0, [2])],
)
def test_top_p_is_the_smallest_set_that_reaches_p(p: float, tokens: list[int]) -> None:
    assert kept(keep_top_p(scores(0.3, 0.05, 0.5, 0.15), p)) == sorted(tokens)


def test_a_uniform_number_chooses_by_the_cumulative_distribution() -> None:
    row = scores(0.25, 0.0, 0.5, 0.25).expand(6, -1)
    uniforms = torch.tensor([0.0, 0.2499, 0.2501, 0.7499, 0.7501, 0.999999])
    tokens, logp = choose(row, Sampling(), uniforms)
    assert tokens.tolist() == [0, 0, 2, 2, 3, 3]  # and never the impossible 1
    expected = torch.tensor([0.25, 0.25, 0.5, 0.5, 0.25, 0.25]).log()
    torch.testing.assert_close(logp, expected)


def test_temperature_top_k_and_top_p_act_in_that_order() -> None:
    """p^2 of (.4, .3, .2, .1) is (16, 9, 4, 1) / 30; of the best three, 29; .8 * 29 = 23.2 < 25."""
    row = scores(0.4, 0.3, 0.2, 0.1)
    sampling = Sampling(temperature=0.5, top_k=3, top_p=0.8)
    tokens, logp = choose(row, sampling, torch.tensor([0.9]))
    assert tokens.item() == 1
    assert math.isclose(logp.item(), math.log(9 / 25), rel_tol=1e-5)
    tokens, logp = choose(row, sampling, torch.tensor([0.6]))
    assert math.isclose(logp.exp().item(), 16 / 25, rel_tol=1e-5)


@pytest.mark.parametrize(
    "sampling",
    [Sampling(strategy="greedy"), Sampling(temperature=0.0), Sampling(top_p=0.0)],
)
def test_greedy_takes_the_best(sampling: Sampling) -> None:
    tokens, logp = choose(scores(0.3, 0.6, 0.1), sampling, torch.tensor([0.99]))
    assert tokens.item() == 1
    assert math.isclose(logp.exp().item(), 0.6, rel_tol=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_P2_tokens_come_as_often_as_their_probability_says(temperature: float) -> None:
    """Chi-square of 20,000 draws over 12 tokens: 31.3 is the 99.9 % point of 11 degrees."""
    random = torch.Generator().manual_seed(3)
    row = torch.randn(1, 12, generator=random)
    uniforms = torch.rand(20_000, generator=random, dtype=torch.float64)
    sampling = Sampling(temperature=temperature)
    tokens, logp = choose(row.expand(20_000, -1), sampling, uniforms)
    probabilities = (row[0].double() / temperature).softmax(0)
    torch.testing.assert_close(logp.double().exp(), probabilities[tokens], atol=1e-6, rtol=0)
    seen, expected = torch.bincount(tokens, minlength=12), 20_000 * probabilities
    assert ((seen - expected) ** 2 / expected).sum() < 31.3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -0.1}, "temperature: -0.1: must be between 0 and 100"),
        ({"temperature": math.nan}, "temperature: nan"),
        ({"top_p": 1.5}, "top_p: 1.5"),
        ({"top_k": 0}, "top_k: 0"),
        ({"max_tokens": 0}, "max_tokens: 0"),
        ({"beams": 0}, "beams: 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Sampling(**settings)
