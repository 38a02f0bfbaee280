import math

import numpy as np
import torch
from torch import Tensor

from jielong.objectives.masked import MaskedBatch, corrupt, masked_loss
from tests.tiny import decoder, random_ids

V = 1006
ORDINARY = torch.arange(V) >= 6
MASK = 0


def corrupted(ids: Tensor, seed: int = 0, **settings: object) -> MaskedBatch:
    random = np.random.default_rng(seed)
    return corrupt(ids, ordinary=ORDINARY, mask=MASK, random=random, **settings)  # type: ignore[arg-type]


def within(count: int, n: int, share: float) -> bool:
    """Whether a count of n draws is within four deviations of what its share lets expect."""
    return abs(count - n * share) < 4 * math.sqrt(n * share * (1 - share))


def test_15_percent_are_chosen_and_of_these_80_10_10() -> None:
    ids = random_ids(200, 256, vocab_size=V)
    batch = corrupted(ids)
    chosen, n = int(batch.counts.sum()), ids.numel()
    assert within(chosen, n, 0.15)
    read, was = batch.ids[batch.counts], ids[batch.counts]
    hidden, kept = int((read == MASK).sum()), int((read == was).sum())
    assert within(hidden, chosen, 0.8)
    assert within(kept, chosen, 0.1 + 0.1 / 1000)  # another token may be the same one
    others = read[(read != MASK) & (read != was)]
    assert within(len(others), chosen, 0.1 * 999 / 1000)
    assert int(others.min()) >= 6
    quarter = int((others < 6 + 250).sum())
    assert within(quarter, len(others), 0.25)


def test_no_batch_is_without_a_target() -> None:
    """With hardly any share one token is chosen, and never a special one."""
    for seed in range(20):
        ids = random_ids(2, 8, seed=seed, vocab_size=V)
        ids[:, :6] = torch.arange(6)
        batch = corrupted(ids, seed, share=1e-9)
        assert int(batch.counts.sum()) == 1
        assert int(ids[batch.counts]) >= 6
    nothing = corrupted(torch.arange(6)[None])
    assert not nothing.counts.any()


def test_what_was_not_chosen_is_untouched_and_targets_are_the_text() -> None:
    ids = random_ids(20, 100, vocab_size=V)
    batch = corrupted(ids, share=0.3)
    assert torch.equal(batch.ids[~batch.counts], ids[~batch.counts])
    assert torch.equal(batch.targets, ids)
    assert within(int(batch.counts.sum()), ids.numel(), 0.3)


def test_special_tokens_are_never_chosen() -> None:
    ids = random_ids(50, 100, vocab_size=V)
    ids[:, ::3] = torch.arange(6).repeat(50, 6)[:, :34]
    batch = corrupted(ids, share=0.9)
    assert not batch.counts[ids < 6].any()
    assert torch.equal(batch.ids[ids < 6], ids[ids < 6])
    assert within(int(batch.counts.sum()), int((ids >= 6).sum()), 0.9)


def test_the_same_generator_gives_the_same_batch() -> None:
    ids = random_ids(4, 50, vocab_size=V)
    one, two, other = corrupted(ids), corrupted(ids), corrupted(ids, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert not torch.equal(one.ids, other.ids)


def test_a_word_is_chosen_whole_or_not_at_all() -> None:
    """Words of one to four tokens; the share of tokens stays what it was."""
    ids = random_ids(300, 100, vocab_size=V)
    words = torch.from_numpy(np.repeat(np.arange(40), np.tile([1, 2, 3, 4], 10)))
    words = words.expand(300, 100) + 7  # a window in the middle of a corpus
    batch = corrupted(ids, words=words)
    for start in range(0, 100, 10):
        for first, last in ((0, 1), (1, 3), (3, 6), (6, 10)):
            word = batch.counts[:, start + first : start + last]
            assert torch.equal(word.any(dim=1), word.all(dim=1))
    assert batch.counts.any(dim=1).float().mean() > 0.9
    # 3000 words of each size: the share of tokens has the deviation of whole words.
    deviation = math.sqrt(3000 * 0.15 * 0.85 * (1 + 4 + 9 + 16))
    assert abs(int(batch.counts.sum()) - 0.15 * 30_000) < 4 * deviation
    # Its tokens still meet their fates apart.
    pairs = (batch.ids[:, 1::10] == MASK) != (batch.ids[:, 2::10] == MASK)
    assert pairs[batch.counts[:, 1::10]].any()


def oracle(ids: Tensor, *, select: Tensor) -> Tensor:
    """A model of four tokens that gives what it reads probability 1/2, each other 1/6."""
    return (torch.full((4, 4), 1 / 6) + torch.eye(4) / 3).log()[ids][select]


def test_the_loss_by_hand() -> None:
    """Read 3 where 3 was (1/2), 0 where 2 was (1/6), 1 where 3 was (1/6); others do not count."""
    batch = MaskedBatch(
        torch.tensor([[3, 0, 1], [1, 2, 3]]),
        torch.tensor([[3, 2, 3], [1, 0, 0]]),
        torch.tensor([[True, True, True], [False, False, False]]),
    )
    loss = masked_loss(oracle, batch)
    assert loss.items.item() == 3
    assert math.isclose(loss.total.item(), math.log(2) + 2 * math.log(6), rel_tol=1e-6)


def test_it_is_the_cross_entropy_at_the_tokens_own_places() -> None:
    model, ids = decoder(bidirectional=True), random_ids(3, 9)
    batch = corrupt(
        ids, ordinary=torch.arange(23) >= 6, mask=0, random=np.random.default_rng(0), share=0.4
    )
    logp = model(batch.ids).log_softmax(-1)
    expected = -sum(logp[i, t, ids[i, t]] for i in range(3) for t in range(9) if batch.counts[i, t])
    torch.testing.assert_close(masked_loss(model, batch).total, expected)
