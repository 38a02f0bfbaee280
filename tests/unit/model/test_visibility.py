import pytest
import torch

from jielong.model.kv_cache import KVCache
from tests.tiny import decoder, random_ids


def lengths(*values: int) -> torch.Tensor:
    return torch.tensor(values)


@pytest.mark.parametrize("positions", ["rotary", "learned"])
def test_no_prefix_is_the_causal_model_and_a_whole_one_sees_both_ways(positions: str) -> None:
    causal, ids = decoder(positions=positions), random_ids(3, 9)
    both = decoder(positions=positions, bidirectional=True)
    torch.testing.assert_close(causal(ids, prefix=lengths(0, 0, 0)), causal(ids))
    torch.testing.assert_close(causal(ids, prefix=lengths(9, 9, 9)), both(ids))
    assert (both(ids) - causal(ids)).abs().amax(-1)[:, :-1].min() > 1e-3


def test_each_row_has_its_own_prefix() -> None:
    model, ids = decoder(), random_ids(3, 9)
    together = model(ids, prefix=lengths(0, 4, 9))
    for row, prefix in enumerate((0, 4, 9)):
        alone = model(ids[row : row + 1], prefix=lengths(prefix))
        torch.testing.assert_close(together[row : row + 1], alone)


def test_inside_the_prefix_all_is_seen_and_after_it_nothing_later() -> None:
    model, ids = decoder(), random_ids(1, 9)
    before = model(ids, prefix=lengths(4))
    for place in range(9):
        changed = ids.clone()
        changed[0, place] = (ids[0, place] - 6 + 1) % 17 + 6
        moved = (model(changed, prefix=lengths(4)) - before).abs().amax(-1)[0] > 1e-5
        assert moved.tolist() == [(place < 4 and i < 4) or place <= i for i in range(9)]


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing_beside_a_prefix(side: str) -> None:
    model, ids, prefix = decoder(), random_ids(2, 8), lengths(3, 6)
    pads, is_pad = torch.full((2, 3), 7), torch.zeros(2, 3, dtype=torch.bool)
    order = [(pads, is_pad), (ids, torch.ones_like(ids, dtype=torch.bool))]
    if side == "right":
        order.reverse()
    rows, is_token = (torch.cat(pair, dim=1) for pair in zip(*order, strict=True))
    padded = model(rows, is_token=is_token, prefix=prefix)[is_token].unflatten(0, (2, 8))
    torch.testing.assert_close(padded, model(ids, prefix=prefix), atol=1e-5, rtol=1e-5)


def test_what_continues_a_prefix_in_a_cache_is_the_full_forward() -> None:
    """Left-padded prefixes of 5 and 3 tokens, then four more, one at a time."""
    model, ids, more = decoder(), random_ids(2, 5), random_ids(2, 4, seed=1)
    is_token = torch.arange(5) >= lengths(0, 2)[:, None]
    cache = KVCache(model.config, 2, 9)
    steps = [model.hidden(ids, is_token=is_token, prefix=lengths(5, 3), cache=cache)[:, -1:]]
    steps += [model.hidden(more[:, t : t + 1], cache=cache) for t in range(4)]
    cached = model.logits(torch.cat(steps, dim=1))
    for row, size in enumerate((5, 3)):
        whole = torch.cat([ids[row, 5 - size :], more[row]])[None]
        full = model(whole, prefix=lengths(size))[0, size - 1 :]
        torch.testing.assert_close(cached[row], full, atol=1e-5, rtol=1e-5)
