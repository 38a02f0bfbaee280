"""Causal attention under a pattern, computed on nothing but the pairs that attend.

The positions are cut into N blocks of l, and each set S_i into parts that are small dense
attentions in a regular layout:

    own        the earlier positions of the block           N problems of l x l, causal
    previous   a band's rest, in the block before           N-1 problems of l x l
    strides    positions equal modulo l, blocks before      l problems of (N-1) x (N-1), causal
    tails      the last c positions of each block before    log2 N levels: runs of 1, 2, 4, ...
                                                            blocks are paired, the later run
                                                            attends to the tails of the earlier

so that sliding = own + previous, strided = own + previous + strides, fixed = own + tails. A part p
gives its output o_p and z_p, the logarithm of the sum of its exponentials, and the softmax over
all of S_i is the mean of the outputs with weights e^{z_p}:

    z = log sum_p e^{z_p}        o = sum_p e^{z_p - z} o_p

The gradient of attention needs o and z and no other sums (arXiv:2205.14135, appendix B.2):

    P_ij = e^{s_ij - z_i}        ds_ij = P_ij (do_i . v_j - do_i . o_i)

so a part's backward pass is handed the joint o and z, and what it returns is exact.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from jielong.model.attention_kernels import Dropout, Kernel, Scores, hidden, kernel_for
from jielong.model.patterns import Pattern

View = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Part:
    """Which queries meet which keys.

    The views pick from blocks (B, N, l, H, D) n problems side by side, (B, n, ..., H, D), the axes
    between being one problem's time. A view never picks a position twice: results are written back
    through it. `pairs` are those of one problem: "causal", "later" keys only, or "all".
    """

    queries: View
    keys: View
    pairs: Literal["causal", "later", "all"]


def parts_of(pattern: Pattern, blocks: int) -> list[Part]:
    """The parts of a pattern over so many blocks of its length; the first covers all positions."""
    parts = [Part(lambda x: x, lambda x: x, "causal")]
    if blocks == 1 or pattern.kind == "dense":
        return parts
    if pattern.kind == "fixed":
        return parts + tails(blocks, pattern.tail)
    parts.append(Part(lambda x: x[:, 1:], lambda x: x[:, :-1], "later"))
    if pattern.kind == "strided":
        # A block's position meets those of the blocks before: causal, with the keys one block back.
        parts.append(
            Part(lambda x: x[:, 1:].transpose(1, 2), lambda x: x[:, :-1].transpose(1, 2), "causal")
        )
    return parts


def tails(blocks: int, tail: int) -> list[Part]:
    """Every block against the last `tail` positions of all blocks before it, each once.

    At a level, 2 * size blocks make a pair of runs; blocks i > j meet at the one level where i is
    in a later run and j in the earlier run of the same pair.
    """
    parts: list[Part] = []
    size = 1
    while size < blocks and tail:
        pairs = blocks // (2 * size)
        if pairs:
            parts.append(pair_of_runs(pairs, size, tail))
        start = 2 * size * pairs + size
        if start < blocks:  # the end cuts the last pair's later run short
            parts.append(last_runs(start, size, tail))
        size *= 2
    return parts


def pair_of_runs(pairs: int, size: int, tail: int) -> Part:
    """The first `pairs` pairs of runs of `size` blocks."""

    def runs(x: Tensor) -> Tensor:
        return x[:, : pairs * 2 * size].unflatten(1, (pairs, 2, size))  # (B, n, 2, size, l, H, D)

    return Part(lambda x: runs(x)[:, :, 1], lambda x: runs(x)[:, :, 0, :, -tail:], "all")


def last_runs(start: int, size: int, tail: int) -> Part:
    """The blocks from `start` to the end, and the run of `size` blocks before them."""
    return Part(
        lambda x: x[:, None, start:], lambda x: x[:, None, start - size : start, -tail:], "all"
    )


def flat(picked: Tensor) -> Tensor:
    """One batch of problems, (B n, H, time, D), of what a view picked, (B, n, ..., H, D)."""
    return picked.flatten(2, -3).flatten(0, 1).transpose(1, 2)


@dataclass(frozen=True)
class Plan:
    """All but the tensors."""

    parts: list[Part]
    kernel: Kernel
    scale: float
    dropout: Dropout | None

    def scores(self, index: int, documents: Tensor | None, like: Tensor) -> Scores:
        """How part `index` forms its scores; its dropout is its own."""
        part = self.parts[index]
        visible = None
        if documents is not None:
            visible = flat(part.queries(documents)) == flat(part.keys(documents)).mT
        if part.pairs == "later":
            length = like.shape[2]
            later = torch.ones(1, 1, length, length, dtype=torch.bool, device=like.device).triu(1)
            visible = later if visible is None else visible & later
        mask = None
        if visible is not None:
            mask = torch.zeros(visible.shape, dtype=like.dtype, device=like.device)
            mask.masked_fill_(~visible, hidden(like.dtype))
        dropout = self.dropout and replace(self.dropout, seed=self.dropout.seed + index)
        return Scores(self.scale, part.pairs == "causal", mask, dropout)


class JoinedParts(torch.autograd.Function):
    """Attention over all parts of a plan; tensors are blocks (B, N, l, H, D)."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        q: Tensor,
        k: Tensor,
        v: Tensor,
        documents: Tensor | None,
        plan: Plan,
    ) -> Tensor:
        """The output (B, N, l, H, D)."""
        sums: list[Tensor] = []
        for index in range(len(plan.parts)):
            join(sums, index, (q, k, v), documents, plan)
        out, lse = sums[0].to(q.dtype), sums[1]
        ctx.save_for_backward(q, k, v, out, lse, documents)
        ctx.plan = plan
        return out

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any,  # noqa: ANN401
        gradient: Tensor,
    ) -> tuple[Tensor | None, ...]:
        """Gradients of q, k and v."""
        *saved, documents = ctx.saved_tensors
        sums: list[Tensor] = []
        for index in range(len(ctx.plan.parts)):
            add_gradients(sums, index, (gradient, *saved), documents, ctx.plan)
        return (*sums, None, None)


def join(
    sums: list[Tensor],
    index: int,
    inputs: tuple[Tensor, ...],
    documents: Tensor | None,
    plan: Plan,
) -> None:
    """Compute part `index` and take it into `sums`, output and log-sum-exp so far.

    A part a call: what it leaves behind is gone before the next one begins.
    """
    q, k, v = inputs
    part = plan.parts[index]
    picked = part.queries(q)
    o, z = plan.kernel.forward(
        *(flat(picked), flat(part.keys(k)), flat(part.keys(v))), plan.scores(index, documents, q)
    )
    o = o.transpose(1, 2).reshape(picked.shape).to(z.dtype)
    z = z.transpose(1, 2).reshape(*picked.shape[:-1], 1)
    if not sums:
        sums += [o, z]
        return
    joined, total = (part.queries(x) for x in sums)
    joined.lerp_(o, torch.sigmoid(z - total))  # e^z / (e^total + e^z)
    total.copy_(torch.logaddexp(total, z))


def add_gradients(
    sums: list[Tensor],
    index: int,
    tensors: tuple[Tensor, ...],
    documents: Tensor | None,
    plan: Plan,
) -> None:
    """Add to `sums`, the gradients of q, k and v, what comes through part `index`."""
    gradient, q, k, v, out, lse = tensors
    part = plan.parts[index]
    found = plan.kernel.backward(
        *(flat(part.queries(gradient)), flat(part.queries(q))),
        *(flat(part.keys(k)), flat(part.keys(v)), flat(part.queries(out))),
        flat(part.queries(lse)).squeeze(-1),
        plan.scores(index, documents, q),
    )
    found = [x.transpose(1, 2) for x in found]
    if not sums:
        sums += [x.reshape(q.shape) for x in found]
        return
    for total, view, x in zip(sums, (part.queries, part.keys, part.keys), found, strict=True):
        picked = view(total)
        picked.add_(x.reshape(picked.shape))


def sparse_attention(
    q: Float[Tensor, "B H T D"],
    k: Float[Tensor, "B G T D"],
    v: Float[Tensor, "B G T D"],
    pattern: Pattern,
    *,
    documents: Int[Tensor, "B T"] | None = None,
    scale: float | None = None,
    dropout_p: float = 0.0,
) -> Float[Tensor, "B H T D"]:
    """Causal attention in which position i attends to the pattern's S_i.

    G key-value heads serve H query heads, H being a multiple of G. Positions of different
    `documents` in one row do not attend to each other; the pattern counts from the row's start.
    `scale` is 1 / sqrt(D) unless given. The cost is that of the pairs in S, up to a factor of two.
    """
    heads, time, head_dim = q.shape[1:]
    length = time if pattern.kind == "dense" else min(pattern.length, time)

    def blocks(x: Tensor) -> Tensor:
        if time % length:  # keys past the end are later than every query that counts
            x = F.pad(x, (0, 0, 0, 0, 0, -time % length))
        return x.unflatten(1, (-1, length))

    if k.shape[1] != heads:
        k, v = (x.repeat_interleave(heads // k.shape[1], dim=1) for x in (k, v))
    q, k, v = (x if x.stride(-1) == 1 else x.contiguous() for x in (q, k, v))
    dropout = None
    if dropout_p:
        dropout = Dropout(dropout_p, seed=int(torch.randint(2**62, ())))
    plan = Plan(
        parts=parts_of(pattern, -(-time // length)),
        kernel=kernel_for(q.device, dropout),
        scale=head_dim**-0.5 if scale is None else scale,
        dropout=dropout,
    )
    rows = None if documents is None else blocks(documents[:, :, None, None])
    out = JoinedParts.apply(*(blocks(x.transpose(1, 2)) for x in (q, k, v)), rows, plan)
    assert isinstance(out, Tensor)
    out = out.flatten(1, 2)
    if time % length:
        out = out[:, :time]  # not otherwise: the gradient of a slice is a copy
    return out.transpose(1, 2)
