import math

import pytest
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from jielong.model import sparse_attention as module
from jielong.model.attention_kernels import Kernel, plain_backward, plain_forward
from jielong.model.patterns import parse
from jielong.model.sparse_attention import sparse_attention

SOME = ["dense", "sliding:3", "strided:3", "fixed:3:2", "fixed:2:1"]
T_LONG = 1024
PLAIN = Kernel(plain_forward, plain_backward)


def inputs(*shape: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """q, k and v."""
    random = torch.Generator().manual_seed(0)
    return [
        torch.randn(*shape, generator=random, dtype=torch.float64).to(dtype).requires_grad_()
        for _ in range(3)
    ]


def attend(tensors: list[Tensor], text: str, **settings: object) -> Tensor:
    (pattern,) = parse(text)
    return sparse_attention(*tensors, pattern, **settings)


def largest_bytes(tensors: list[Tensor], text: str | None, documents: Tensor | None) -> int:
    """The largest single allocation of a forward and a backward pass, inside kernels as well."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        if text is None:
            q, k, v = tensors
            out = (q @ k.mT).softmax(dim=-1) @ v
        else:
            out = attend(tensors, text, documents=documents)
        torch.autograd.grad(out, tensors, torch.ones_like(out))
    events = found.profiler.kineto_results.events()
    return max(event.nbytes() for event in events if event.name() == "[memory]")


@pytest.mark.parametrize("kernel", ["fused", "plain"])
@pytest.mark.parametrize("packed", [False, True], ids=["one document", "packed"])
@pytest.mark.parametrize("text", ["sliding:32", "strided:32", "fixed:32:4"])
def test_no_scores_over_all_pairs_are_made(
    text: str, packed: bool, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing as large as one head's T x T, were it of single bytes."""
    if kernel == "plain":
        monkeypatch.setattr(module, "kernel_for", lambda *_: PLAIN)
    documents = torch.arange(T_LONG)[None] // 100 if packed else None
    assert largest_bytes(inputs(1, 2, T_LONG, 8), text, documents) < T_LONG**2


def test_scores_over_all_pairs_would_be_seen() -> None:
    assert largest_bytes(inputs(1, 2, T_LONG, 8), None, None) >= 2 * T_LONG**2 * 4


@pytest.mark.parametrize("text", SOME)
def test_gradients_are_those_of_the_output(text: str) -> None:
    """Against finite differences in random directions."""
    tensors = inputs(1, 2, 7, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda *qkv: attend(list(qkv), text), tensors, fast_mode=True)


def test_documents_and_grouped_heads_by_hand() -> None:
    """Equal scores: each position's output is the mean value of those that it attends to.

    sliding:2, documents A B B B C: B begins within a block of two, C with one.
    """
    q, k = torch.zeros(1, 4, 5, 2), torch.zeros(1, 2, 5, 2)
    v = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0]).view(1, 1, 5, 1).expand(1, 2, 5, 2).clone()
    v[:, 1] *= 10
    out = attend([q, k, v], "sliding:2", documents=torch.tensor([[7, 3, 3, 3, 5]]))
    means = torch.tensor([1.0, 2.0, 3.0, 6.0, 16.0])
    expected = torch.stack([means, means, 10 * means, 10 * means])
    torch.testing.assert_close(out[0, :, :, 0], expected)


def test_the_scale_is_one_over_the_root_of_the_head_size_unless_given() -> None:
    """Position 1 scores 0 and 4 q_1 . k_1 = log 3 times 2 before scaling by 1 / sqrt(4)."""
    q, k = torch.zeros(1, 1, 2, 4), torch.zeros(1, 1, 2, 4)
    q[..., 1, 0], k[..., 1, 0] = 1.0, 2 * math.log(3)
    v = torch.tensor([2.0, 6.0]).view(1, 1, 2, 1).expand(1, 1, 2, 4)
    assert float(attend([q, k, v], "strided:2")[0, 0, 1, 0]) == pytest.approx(5.0)
    assert float(attend([q, k, v], "strided:2", scale=0.0)[0, 0, 1, 0]) == pytest.approx(4.0)


@pytest.mark.parametrize("text", SOME)
def test_any_strides_are_taken(text: str) -> None:
    """As a model hands them over, cut from one product; and a gradient that is one number."""
    whole = torch.randn(2, 7, 3, 3, 4, generator=torch.Generator().manual_seed(0))
    cut = [part.transpose(1, 2).requires_grad_() for part in whole.unbind(2)]
    odd = [part.detach().mT.contiguous().mT.requires_grad_() for part in cut]
    plain = [part.detach().contiguous().requires_grad_() for part in cut]
    results = []
    for tensors in (cut, odd, plain):
        out = attend(tensors, text)
        results.append((out, *torch.autograd.grad(out.sum(), tensors)))
    torch.testing.assert_close(results[0], results[2])
    torch.testing.assert_close(results[1], results[2])


@pytest.mark.parametrize("kernel", ["fused", "plain"])
@pytest.mark.parametrize("text", SOME)
def test_bfloat16_is_near(text: str, kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if kernel == "plain":
        monkeypatch.setattr(module, "kernel_for", lambda *_: PLAIN)
    exact = inputs(2, 2, 13, 8)
    rounded = [part.detach().bfloat16().requires_grad_() for part in exact]
    results = []
    for tensors in (exact, rounded):
        out = attend(tensors, text)
        results.append((out, *torch.autograd.grad(out, tensors, torch.ones_like(out))))
    assert results[1][0].dtype == torch.bfloat16
    for ours, theirs in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(ours.float(), theirs, atol=0.06, rtol=0.06)


@pytest.mark.parametrize("text", SOME)
def test_dropout_drops_probabilities_of_the_joint_softmax(text: str) -> None:
    """With equal scores and one-hot values the output is the dropped probabilities themselves."""
    time = 13
    q, k = torch.zeros(1, 200, time, time), torch.zeros(1, 200, time, time)
    v = torch.eye(time).expand(1, 200, time, time)
    torch.manual_seed(0)
    kept = attend([q, k, v], text)[0]
    dropped = attend([q, k, v], text, dropout_p=0.25)[0]
    counted = kept > 0
    torch.testing.assert_close(dropped[dropped > 0], (kept * 4 / 3)[dropped > 0])
    assert not (dropped[~counted] > 0).any()
    assert abs(float((dropped[counted] == 0).float().mean()) - 0.25) < 0.01
    by_pair = ((dropped == 0) & counted).float().mean(dim=0)[counted[0]]  # 200 draws each
    assert float(by_pair.min()) > 0.1
    assert float(by_pair.max()) < 0.4


@pytest.mark.parametrize("text", SOME)
def test_dropout_has_the_gradients_of_what_it_kept(text: str) -> None:
    """Against finite differences in random directions, the draw being the same at each call."""
    tensors = inputs(1, 2, 7, 3, dtype=torch.float64)

    def drawn(*qkv: Tensor) -> Tensor:
        torch.manual_seed(5)
        return attend(list(qkv), text, dropout_p=0.4)

    assert torch.autograd.gradcheck(drawn, tensors, fast_mode=True)
