"""Packing loses no token, and windows lose none but the rest that fills no window."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jielong.data.shards import Shard, window_rows

documents = st.lists(st.lists(st.integers(6, 40_000), max_size=9), min_size=1, max_size=9)


@given(documents)
def test_packing_loses_no_token(texts: list[list[int]]) -> None:
    shard = Shard.pack(texts, 1, ["zh"] * len(texts), [0] * len(texts))
    ends = [*shard.starts[1:].tolist(), len(shard.tokens)]
    pieces = [shard.tokens[a:b].tolist() for a, b in zip(shard.starts, ends, strict=True)]
    assert pieces == [[1, *text] for text in texts]


@given(st.integers(2, 12), st.integers(1, 9), st.integers(0, 400), st.integers(0, 2**40))
def test_an_epoch_of_windows_overlaps_nowhere(
    length: int, batch: int, extra: int, seed: int
) -> None:
    tokens = np.arange(3 * length + extra)
    count = (len(tokens) - 1) // length - 1
    steps = range(-(-count // batch))
    rows = np.concatenate([window_rows(tokens, length, batch, seed, s) for s in steps])[:count]
    assert np.array_equal(rows, rows[:, :1] + np.arange(length))
    assert len(np.unique(rows)) == count * length > len(tokens) - 3 * length
