import dataclasses
import math

import pytest
import torch

from jielong.model import attention_kernels
from jielong.model.attention_kernels import (
    Dropout,
    Kernel,
    Scores,
    fused_backward,
    fused_exists,
    fused_forward,
    hidden,
    kernel_for,
    plain_backward,
    plain_forward,
)

FUSED = Kernel(fused_forward, fused_backward)
PLAIN = Kernel(plain_forward, plain_backward)
BOTH = pytest.mark.parametrize("kernel", [FUSED, PLAIN], ids=["fused", "plain"])
SCORES = Scores(scale=1.0, causal=False, mask=None, dropout=None)


def row(*numbers: float) -> torch.Tensor:
    """(1, 1, T, 1), from one number a position."""
    return torch.tensor(numbers).view(1, 1, -1, 1)


@BOTH
def test_output_and_log_sum_exp_by_hand(kernel: Kernel) -> None:
    """Scores log 1 and log 3 against values 2 and 6: (1*2 + 3*6) / 4 = 5, and log 4."""
    out, lse = kernel.forward(row(1.0), row(0.0, math.log(3)), row(2.0, 6.0), SCORES)
    torch.testing.assert_close(out, row(5.0))
    torch.testing.assert_close(lse, torch.tensor([[[math.log(4)]]]))


@BOTH
def test_the_scale_and_the_causal_order_by_hand(kernel: Kernel) -> None:
    scores = dataclasses.replace(SCORES, scale=0.5, causal=True)
    keys = row(0.0, 2 * math.log(3))
    out, lse = kernel.forward(row(1.0, 1.0), keys, row(2.0, 6.0), scores)
    torch.testing.assert_close(out, row(2.0, 5.0))
    torch.testing.assert_close(lse, torch.tensor([[[0.0, math.log(4)]]]))


@BOTH
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_query_that_sees_nothing_weighs_nothing(kernel: Kernel, dtype: torch.dtype) -> None:
    """Its log-sum-exp is far below any real one, and its output a number."""
    mask = torch.tensor([[0.0, 0.0], [1.0, 1.0]], dtype=dtype) * hidden(dtype)
    q, k, v = (torch.ones(1, 1, 2, 4, dtype=dtype) for _ in range(3))
    out, lse = kernel.forward(q, k, v, dataclasses.replace(SCORES, mask=mask[None, None]))
    assert lse[0, 0, 0] == pytest.approx(4 + math.log(2), rel=1e-6)
    assert lse[0, 0, 1] < -1e30
    assert out.isfinite().all()


@BOTH
def test_gradients_under_a_joint_log_sum_exp_by_hand(kernel: Kernel) -> None:
    """One query; keys seen here score log 1 and log 3, others elsewhere weigh 4 with output 1.

    Jointly z = log 8 and o = (1*2 + 3*6 + 4*1) / 8 = 3, so with do = 1 the probabilities here are
    1/8 and 3/8, their scores' gradients 1/8 (2 - 3) = -1/8 and 3/8 (6 - 3) = 9/8, and
    dq = sum ds_j k_j = 9/8 log 3, dk = ds q = ds for q = 1, dv = the probabilities.
    """
    keys, values = row(0.0, math.log(3)), row(2.0, 6.0)
    dq, dk, dv = kernel.backward(
        *(row(1.0), row(1.0), keys, values),
        *(row(3.0), torch.tensor([[[math.log(8)]]]), SCORES),
    )
    torch.testing.assert_close(dq, row(9 / 8 * math.log(3)))
    torch.testing.assert_close(dk, row(-1 / 8, 9 / 8))
    torch.testing.assert_close(dv, row(1 / 8, 3 / 8))


def test_dropout_is_drawn_alike_again_and_keeps_the_mean() -> None:
    dropout = Dropout(probability=0.25, seed=3)
    ones = torch.ones(100, 100)
    factors = dropout.factors(ones)
    assert torch.equal(factors, dropout.factors(ones))
    assert not torch.equal(factors, Dropout(probability=0.25, seed=4).factors(ones))
    dropped = factors == 0
    torch.testing.assert_close(factors[~dropped], torch.full_like(factors[~dropped], 4 / 3))
    assert abs(float(dropped.float().mean()) - 0.25) < 0.02


def test_the_fused_kernel_is_for_processors_without_dropout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cpu, dropout = torch.device("cpu"), Dropout(probability=0.5, seed=0)
    assert fused_exists()
    assert kernel_for(cpu, None) == FUSED
    assert kernel_for(cpu, dropout) == PLAIN
    assert kernel_for(torch.device("cuda"), None) == PLAIN
    monkeypatch.setattr(attention_kernels, "FUSED", "_no_such_attention")
    fused_exists.cache_clear()
    try:
        assert kernel_for(cpu, None) == PLAIN
    finally:
        fused_exists.cache_clear()
