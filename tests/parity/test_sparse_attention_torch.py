"""Sparse attention against torch's dense attention under the explicit mask of each definition."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from jielong.model import sparse_attention as module
from jielong.model.attention_kernels import Kernel, plain_backward, plain_forward
from jielong.model.patterns import Kind, Pattern
from jielong.model.sparse_attention import sparse_attention

pytestmark = pytest.mark.parity
KINDS: list[Kind] = ["dense", "sliding", "strided", "fixed"]


def visible(pattern: Pattern, documents: Tensor | None, rows: int, time: int) -> Tensor:
    """(B, 1, T, T) by the definitions of arXiv:1904.10509, pair by pair."""
    length, tail = pattern.length, pattern.tail
    rules = {
        "dense": lambda *_: True,
        "sliding": lambda i, j: i - length < j,
        "strided": lambda i, j: i - length < j or (i - j) % length == 0,
        "fixed": lambda i, j: j // length == i // length or j % length >= length - tail,
    }
    rule = rules[pattern.kind]
    found = [[j <= i and rule(i, j) for j in range(time)] for i in range(time)]
    mask = torch.tensor(found).expand(rows, 1, time, time)
    if documents is not None:
        mask = mask & (documents[:, None, :, None] == documents[:, None, None, :])
    return mask


def assert_equals_dense(
    pattern: Pattern, time: int, seed: int, dtype: torch.dtype, tolerance: float
) -> None:
    """Output and gradients, heads grouped and rows packed or not as the seed decides."""
    random = torch.Generator().manual_seed(seed)
    rows, groups, each = (int(torch.randint(1, 4, (), generator=random)) for _ in range(3))
    heads = (groups * each, groups, groups)
    tensors = [
        torch.randn(rows, head, time, 4, generator=random, dtype=dtype).requires_grad_()
        for head in heads
    ]
    gradient = torch.randn(rows, heads[0], time, 4, generator=random, dtype=dtype)
    documents = None
    if seed % 2:
        documents = torch.randint(0, 4, (rows, time), generator=random).sort(dim=1).values
    ours = sparse_attention(*tensors, pattern, documents=documents)
    theirs = F.scaled_dot_product_attention(
        *tensors, attn_mask=visible(pattern, documents, rows, time), enable_gqa=True
    )
    for found in (ours, theirs):
        assert found.shape == gradient.shape
    torch.testing.assert_close(
        (ours, *torch.autograd.grad(ours, tensors, gradient)),
        (theirs, *torch.autograd.grad(theirs, tensors, gradient)),
        atol=tolerance,
        rtol=tolerance,
    )


@pytest.mark.parametrize("kernel", ["fused", "plain"])
def test_it_is_dense_attention_under_the_mask(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if kernel == "plain":
        plain = Kernel(plain_forward, plain_backward)
        monkeypatch.setattr(module, "kernel_for", lambda *_: plain)

    @settings(max_examples=200)
    @given(
        st.sampled_from(KINDS),
        st.integers(1, 48),
        st.integers(1, 20),
        st.integers(0, 20),
        st.integers(0, 2**31),
    )
    def check(kind: Kind, time: int, length: int, tail: int, seed: int) -> None:
        pattern = Pattern(kind, length, min(tail, length))
        assert_equals_dense(pattern, time, seed, torch.float32, 1e-5)
        assert_equals_dense(pattern, time, seed, torch.float64, 1e-12)

    check()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("time", [512, 700])
def test_it_is_so_at_length_too(kind: Kind, time: int) -> None:
    assert_equals_dense(Pattern(kind, 64, 8), time, 1, torch.float32, 1e-5)
