"""However a text is cut into steps and padded, the model says the same."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jielong.model.kv_cache import KVCache
from tests.tiny import decoder, random_ids

MODEL = decoder()


@settings(max_examples=40)
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=4),
    st.lists(st.integers(1, 8), min_size=1, max_size=3),
    st.integers(0, 99),
)
@torch.no_grad()
def test_cached_decoding_is_the_full_forward(
    pieces: list[int], sizes: list[int], seed: int
) -> None:
    """Rows of different `sizes`, padded on the left, continued by `pieces` of several tokens."""
    width, rows = max(sizes), len(sizes)
    ids = random_ids(rows, width + sum(pieces), seed=seed)
    is_token = torch.arange(width) >= width - torch.tensor(sizes)[:, None]
    cache = KVCache(MODEL.config, rows, ids.shape[1])
    states = [MODEL.hidden(ids[:, :width], is_token=is_token, cache=cache)]
    for piece in pieces:
        start = cache.length
        states.append(MODEL.hidden(ids[:, start : start + piece], cache=cache))
    together = torch.cat(states, dim=1)
    for row, size in enumerate(sizes):
        alone = MODEL.hidden(ids[row : row + 1, width - size :])[0]
        torch.testing.assert_close(together[row, width - size :], alone, atol=1e-4, rtol=1e-4)
