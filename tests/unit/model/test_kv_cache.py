import torch

from jielong.model.kv_cache import KVCache
from tests.tiny import config, decoder, random_ids


def test_positions_are_stored_in_order() -> None:
    cache = KVCache(config(), batch=1, capacity=4)
    first, second = torch.randn(2, 1, 2, 2, 6, generator=torch.Generator().manual_seed(0))
    keys, values = cache.append(1, first, -first)
    assert torch.equal(keys, first)
    cache.length = 2
    keys, values = cache.append(1, second, -second)
    assert torch.equal(keys, torch.cat([first, second], dim=2))
    assert torch.equal(values, -keys)
    assert not cache.keys[0].any()  # the other layer


def test_rows_leave_and_fork() -> None:
    """After `select` the cache answers as if those rows had been there from the start."""
    model, ids, more = decoder(), random_ids(3, 6), random_ids(4, 2, seed=1)
    rows = torch.tensor([2, 0, 0, 2])
    is_token = torch.arange(6) >= torch.tensor([0, 1, 4])[:, None]
    caches = [KVCache(model.config, batch, 8) for batch in (3, 4)]
    model.hidden(ids, is_token=is_token, cache=caches[0])
    caches[0].select(rows)
    model.hidden(ids[rows], is_token=is_token[rows], cache=caches[1])
    states = [model.hidden(more, cache=cache) for cache in caches]
    torch.testing.assert_close(states[0], states[1])
