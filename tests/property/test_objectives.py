"""What holds of every batch that the objectives make, for any text, size and share."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from jielong.data.words import number_words
from jielong.objectives.masked import corrupt
from jielong.objectives.prefix import cut_prefixes
from jielong.objectives.sequence_to_sequence import Marks, corrupt_spans, cut_in_two, span_counts
from tests.tiny import random_ids, tokenizer

MARKS = Marks(pad=0, bos=1, eos=2, mask=0)
seeds = st.integers(0, 10_000)
shares = st.floats(0.01, 0.99)


@given(st.integers(1, 5), st.integers(1, 40), shares, seeds)
def test_corruption_touches_chosen_ordinary_tokens_only(
    batch: int, time: int, share: float, seed: int
) -> None:
    ids = random_ids(batch, time, seed=seed, low=0)
    words = torch.from_numpy(np.sort(np.random.default_rng(seed).integers(0, 9, (batch, time))))
    random = np.random.default_rng(seed)
    ordinary = torch.arange(23) >= 6
    made = corrupt(ids, ordinary=ordinary, mask=0, random=random, words=words, share=share)
    assert torch.equal(made.targets, ids)
    assert torch.equal(made.ids[~made.counts], ids[~made.counts])
    assert (ids[made.counts] >= 6).all()
    read = made.ids[made.counts]
    assert ((read == 0) | (read >= 6)).all()
    for row, numbers, chosen in zip(ids, words, made.counts, strict=True):
        for word in numbers.unique():
            inside = chosen[(numbers == word) & (row >= 6)]
            assert inside.all() or not inside.any()


@given(st.integers(1, 5), st.integers(2, 40), seeds)
def test_every_row_keeps_something_to_read_and_something_to_say(
    batch: int, time: int, seed: int
) -> None:
    ids, random = random_ids(batch, time, seed=seed), np.random.default_rng(seed)
    prefix = cut_prefixes(ids, random).prefix
    assert ((prefix >= 1) & (prefix <= time - 1)).all()
    pairs = cut_in_two(ids, marks=MARKS, random=random)
    assert (pairs.source_is_token.sum(1) >= 2).all()
    assert (pairs.counts.sum(1) >= 1).all()
    assert (pairs.source_is_token.sum(1) + pairs.counts.sum(1) == time + 1).all()


@given(st.integers(2, 60), shares, st.floats(1, 10), seeds)
def test_spans_lose_no_token(time: int, share: float, length: float, seed: int) -> None:
    ids = random_ids(3, time, seed=seed)
    random = np.random.default_rng(seed)
    made = corrupt_spans(ids, marks=MARKS, random=random, share=share, length=length)
    taken, spans = span_counts(time, share, length)
    for row, source, real, target, counts in zip(
        ids, made.source, made.source_is_token, made.targets, made.counts, strict=True
    ):
        source, target = source[real], target[counts]
        assert (source == MARKS.mask).sum() == (target == MARKS.mask).sum() == spans
        assert len(source) == time - taken + spans + 1
        assert len(target) == taken + spans + 1
        both = torch.cat([source, target])
        assert sorted(both[both >= 6].tolist()) == sorted(row.tolist())


@given(st.lists(st.text(max_size=30), max_size=6))
def test_words_are_runs_of_tokens_and_end_with_the_text(texts: list[str]) -> None:
    rows = [[1, *tokenizer().encode(text)] for text in texts]
    ids = np.array([token for row in rows for token in row], dtype=np.int64)
    numbers = number_words(ids, tokenizer().token_bytes)
    assert len(numbers) == len(ids)
    assert set(np.diff(numbers).tolist()) <= {0, 1}
    alone = [number_words(np.array(row), tokenizer().token_bytes) for row in rows]
    together = np.concatenate([np.diff(a, prepend=-1) for a in alone]) if alone else ids
    assert np.diff(numbers, prepend=-1).tolist() == together.tolist()
