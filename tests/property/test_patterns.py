"""Every pair that a pattern allows is computed once, and no other."""

from collections import Counter

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jielong.model.patterns import Pattern, allowed
from jielong.model.sparse_attention import flat, parts_of

PATTERNS = st.one_of(
    st.just(Pattern("dense")),
    st.builds(Pattern, st.just("sliding"), st.integers(1, 12)),
    st.builds(Pattern, st.just("strided"), st.integers(1, 12)),
    st.integers(1, 12).flatmap(
        lambda length: st.builds(Pattern, st.just("fixed"), st.just(length), st.integers(0, length))
    ),
)


def attends(pattern: Pattern, i: int, j: int) -> bool:
    """Whether j is in S_i, as the papers write it."""
    match pattern.kind:
        case "dense":
            found = True
        case "sliding":
            found = i - pattern.length < j
        case "strided":
            found = i - pattern.length < j or (i - j) % pattern.length == 0
        case "fixed":
            same = i // pattern.length == j // pattern.length
            found = same or j % pattern.length >= pattern.length - pattern.tail
    return found and j <= i


@settings(max_examples=200)
@given(PATTERNS, st.integers(1, 40))
def test_the_mask_is_the_definition(pattern: Pattern, time: int) -> None:
    mask = allowed(pattern, torch.arange(time), torch.arange(time))
    assert mask.tolist() == [[attends(pattern, i, j) for j in range(time)] for i in range(time)]


@settings(max_examples=200)
@given(PATTERNS, st.integers(1, 14))
def test_the_parts_of_a_pattern_hold_each_of_its_pairs_once(pattern: Pattern, blocks: int) -> None:
    """Positions stand in for the tensors, and meet as the parts say."""
    length = pattern.length or 5
    blocks = 1 if pattern.kind == "dense" else blocks
    positions = torch.arange(blocks * length).view(1, blocks, length, 1, 1)
    met: Counter[tuple[int, int]] = Counter()
    for part in parts_of(pattern, blocks):
        queries, keys = (flat(view(positions))[:, 0, :, 0] for view in (part.queries, part.keys))
        for ours, theirs in zip(queries.tolist(), keys.tolist(), strict=True):
            for at, i in enumerate(ours):
                for to, j in enumerate(theirs):
                    late = {"causal": to <= at, "later": to > at, "all": True}[part.pairs]
                    met[i, j] += late
    time = blocks * length
    expected = {(i, j): int(attends(pattern, i, j)) for i in range(time) for j in range(time)}
    assert {pair: count for pair, count in met.items() if count} == {
        pair: 1 for pair, count in expected.items() if count
    }
