import math

import pytest
import torch

from jielong.model import tiles
from jielong.model.attention import Attention
from jielong.model.config import RopeConfig
from jielong.model.positions import Rotary, rotate
from jielong.model.visibility import look
from tests.tiny import config, randomise


def test_rotation_by_hand() -> None:
    """D = 4, base 100: pair (0, 2) turns by p, pair (1, 3) by p / 10."""
    rotary = Rotary(config(width=8, n_head=2, rope=RopeConfig(base=100.0)))
    x = torch.tensor([1.0, 2.0, 3.0, 4.0]).expand(1, 1, 1, 4)
    turned = rotate(x, *rotary(torch.tensor([5]), 6))[0, 0, 0]
    fast, slow = 5.0, 0.5
    expected = [
        1 * math.cos(fast) - 3 * math.sin(fast),
        2 * math.cos(slow) - 4 * math.sin(slow),
        3 * math.cos(fast) + 1 * math.sin(fast),
        4 * math.cos(slow) + 2 * math.sin(slow),
    ]
    torch.testing.assert_close(turned, torch.tensor(expected))


def test_only_the_distance_of_two_positions_matters() -> None:
    rotary = Rotary(config())
    random = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 1, 1, 1, 6, generator=random)

    def product(i: int, j: int) -> float:
        turned = [rotate(x, *rotary(torch.tensor([p]), p + 1)) for x, p in ((q, i), (k, j))]
        return float((turned[0] * turned[1]).sum())

    assert math.isclose(product(7, 4), product(20, 17), rel_tol=1e-5)
    assert not math.isclose(product(7, 4), product(7, 5), rel_tol=1e-2)


def test_positions_may_differ_by_row() -> None:
    rotary = Rotary(config())
    rows = rotary(torch.tensor([[0, 1], [5, 6]]), 7)
    assert rows[0].shape == (2, 1, 2, 6)
    torch.testing.assert_close(rows[0][1, 0, 0], rotary(torch.tensor([5]), 6)[0][0, 0])


@pytest.mark.parametrize("size", [tiles.SIZE, 20])
def test_the_slopes_of_a_rotation(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of heads that lie side by side; positions alike in all rows, and not."""
    monkeypatch.setattr(tiles, "SIZE", size)
    rotary = Rotary(config())
    random = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 4, 6, generator=random, dtype=torch.float64, requires_grad=True)
    for positions in (torch.arange(3), torch.tensor([[0, 1, 2], [5, 9, 10]])):
        cos, sin = (angles.double() for angles in rotary(positions, 32))
        assert torch.autograd.gradcheck(lambda x, cos=cos, sin=sin: rotate(heads(x), cos, sin), x)
        alone = [
            rotate(row, cos[i % len(cos)], sin[i % len(sin)]) for i, row in enumerate(heads(x))
        ]
        torch.testing.assert_close(rotate(heads(x), cos, sin), torch.stack(alone))


def heads(x: torch.Tensor) -> torch.Tensor:
    return x.transpose(1, 2)


@torch.no_grad()
def test_attention_is_its_definition_head_by_head() -> None:
    """softmax(Q K^T / sqrt(D)) V in plain loops; query heads 0, 1 share key head 0."""
    shape = config(dropout=0.0)
    layer, rotary = Attention(shape, 0), Rotary(shape)
    randomise(layer, 1)
    x = torch.randn(1, 5, 24, generator=torch.Generator().manual_seed(2))
    cos, sin = rotary(torch.arange(5), 5)
    sight = look(torch.zeros(1, 5, dtype=torch.long), causal=True)
    y = layer(x, (cos, sin), sight, None)

    def normed(v: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return v / (v.square().mean() + shape.norm_eps).sqrt() * weight

    weights = layer.qkv.weight.split([24, 12, 12])
    heads = torch.zeros(5, 4, 6)
    for h in range(4):
        rows, shared = slice(6 * h, 6 * h + 6), slice(6 * (h // 2), 6 * (h // 2) + 6)
        q = torch.stack([normed(weights[0][rows] @ t, layer.query_norm.weight) for t in x[0]])
        k = torch.stack([normed(weights[1][shared] @ t, layer.key_norm.weight) for t in x[0]])
        v = torch.stack([weights[2][shared] @ t for t in x[0]])
        q, k = rotate(q, cos[0], sin[0]), rotate(k, cos[0], sin[0])
        for t in range(5):
            scores = torch.tensor([float(q[t] @ k[s]) / 6**0.5 for s in range(t + 1)])
            heads[t, h] = scores.softmax(0) @ v[: t + 1]
    torch.testing.assert_close(y[0], heads.flatten(1) @ layer.output.weight.T)
