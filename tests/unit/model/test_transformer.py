import math

import pytest
import torch

from jielong.model.kv_cache import KVCache
from jielong.model.transformer import Transformer
from tests.tiny import config, decoder, random_ids


def test_it_starts_as_the_identity_with_scores_of_order_one() -> None:
    torch.manual_seed(0)
    model = Transformer(config(vocab_size=500, width=96, n_head=4, ffn_width=64))
    ids = random_ids(4, 16, vocab_size=500)
    embedded = model.embedding(ids)
    torch.testing.assert_close(
        model.hidden(ids), embedded / (embedded.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    )
    scores = model(ids)
    own = torch.zeros_like(scores, dtype=torch.bool).scatter_(-1, ids[..., None], True)
    assert 0.8 < scores[~own].std() < 1.25  # all but a token's score of itself


def test_a_later_token_changes_nothing_before_it() -> None:
    model, ids = decoder(), random_ids(1, 9)
    changed = ids.clone()
    changed[0, 6] = (ids[0, 6] - 6 + 1) % 17 + 6
    before, after = model(ids), model(changed)
    torch.testing.assert_close(before[:, :6], after[:, :6])
    assert (before[:, 6:] - after[:, 6:]).abs().amax(-1).min() > 1e-3


@pytest.mark.parametrize("n_kv_head", [1, 2, 4])
@pytest.mark.parametrize("tied", [True, False])
def test_cached_decoding_equals_the_full_forward(n_kv_head: int, tied: bool) -> None:
    model = decoder(n_kv_head=n_kv_head, tied=tied)
    ids = random_ids(3, 12)
    full = model(ids)
    cache = KVCache(model.config, 3, 12)
    pieces = [model.logits(model.hidden(ids[:, a:b], cache=cache)) for a, b in ((0, 5), (5, 9))]
    pieces += [model.logits(model.hidden(ids[:, t : t + 1], cache=cache)) for t in range(9, 12)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), full, atol=1e-5, rtol=1e-5)
    assert cache.length == 12


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("junk", [0, 7])
def test_padding_changes_nothing(side: str, junk: int) -> None:
    model, ids = decoder(), random_ids(2, 8)
    pads = torch.full((2, 5), junk)
    is_pad = torch.zeros(2, 5, dtype=torch.bool)
    pair = (pads, ids) if side == "left" else (ids, pads)
    masks = (is_pad, ~is_pad[:, :1].expand(2, 8))
    padded = model(
        torch.cat(pair, dim=1), is_token=torch.cat(masks if side == "left" else masks[::-1], dim=1)
    )
    own = padded[:, 5:] if side == "left" else padded[:, :8]
    torch.testing.assert_close(own, model(ids), atol=1e-5, rtol=1e-5)
    assert padded.isfinite().all()


def test_P8_left_padding_and_cache_together_change_nothing() -> None:
    """Rows of 8, 3 and 1 tokens, continued one token at a time, against each row alone."""
    model, sizes = decoder(), (8, 3, 1)
    rows = random_ids(3, 8)
    more = random_ids(3, 4, seed=1)
    is_token = torch.arange(8) >= 8 - torch.tensor(sizes)[:, None]
    prompt = torch.where(is_token, rows, 0)
    cache = KVCache(model.config, 3, 12)
    steps = [model.hidden(prompt, is_token=is_token, cache=cache)[:, -1:]]
    steps += [model.hidden(more[:, t : t + 1], cache=cache) for t in range(4)]
    together = model.logits(torch.cat(steps, dim=1))
    for row, size in enumerate(sizes):
        alone = torch.cat([rows[row, 8 - size :], more[row]])[None]
        torch.testing.assert_close(together[row], model(alone)[0, size - 1 :], atol=1e-5, rtol=1e-5)


def test_P8_the_order_of_rows_changes_nothing() -> None:
    model, ids = decoder(), random_ids(5, 7)
    is_token = torch.arange(7) >= torch.tensor([0, 3, 1, 6, 2])[:, None]
    order = torch.tensor([3, 0, 4, 1, 2])
    straight, permuted = (
        model(ids[rows], is_token=is_token[rows]) for rows in (torch.arange(5), order)
    )
    torch.testing.assert_close(permuted, straight[order])


def numbers(*rows: list[int]) -> torch.Tensor:
    """Which text each place of a row belongs to, from the texts' sizes; 0 is padding."""
    width = max(map(sum, rows))
    places = [[n for n, size in enumerate(row, 1) for _ in range(size)] for row in rows]
    return torch.tensor([place + [0] * (width - len(place)) for place in places])


def test_texts_that_share_a_row_are_each_alone() -> None:
    """At the start, the middle and the end of a row, and beside padding."""
    model, ids = decoder(), random_ids(3, 12)
    sizes = ([5, 1, 6], [12], [3, 4])
    packed = model(ids, documents=numbers(*sizes))
    for row, lengths in enumerate(sizes):
        start = 0
        for size in lengths:
            alone = model(ids[row : row + 1, start : start + size])[0]
            torch.testing.assert_close(
                packed[row, start : start + size], alone, atol=1e-5, rtol=1e-5
            )
            start += size
    assert packed.isfinite().all()


@pytest.mark.parametrize("changed", [slice(0, 4), slice(4, 9), slice(9, 14), slice(14, 16)])
def test_a_text_changes_nothing_at_all_in_its_neighbours(changed: slice) -> None:
    """Not a single bit, whether it stands before or after them, or is padding."""
    model, ids = decoder(std=0.5), random_ids(1, 16)
    documents = numbers([4, 5, 5])
    documents = torch.cat([documents, torch.zeros(1, 2, dtype=torch.long)], dim=1)
    other = ids.clone()
    other[0, changed] = (ids[0, changed] - 6 + 1) % 17 + 6
    before, after = (model(x, documents=documents)[0] for x in (ids, other))
    kept = torch.ones(16, dtype=torch.bool)
    kept[changed] = False
    assert torch.equal(before[kept], after[kept])
    assert (before[~kept] - after[~kept]).abs().amax(-1).min() > 1e-3


def test_a_row_of_one_text_is_a_plain_row() -> None:
    model, ids = decoder(), random_ids(2, 9)
    packed = model(ids, documents=torch.ones_like(ids))
    torch.testing.assert_close(packed, model(ids), atol=1e-5, rtol=1e-5)


def test_selected_positions_are_those_of_the_full_scores() -> None:
    model, ids = decoder(), random_ids(2, 6)
    select = torch.tensor([[1, 0, 0, 1, 0, 1], [0, 0, 1, 0, 0, 0]], dtype=torch.bool)
    full = model(ids)
    expected = torch.stack([full[0, 0], full[0, 3], full[0, 5], full[1, 2]])
    torch.testing.assert_close(model(ids, select=select), expected)


def test_dropout_acts_in_training_only() -> None:
    ids = random_ids(2, 6)
    dropping, plain = decoder(dropout=0.5), decoder(dropout=0.0)
    assert torch.equal(dropping(ids), dropping(ids))
    assert torch.equal(dropping(ids), plain(ids))
    dropping.train()
    torch.manual_seed(0)
    first = dropping(ids)
    assert not torch.equal(first, dropping(ids))
    torch.manual_seed(0)
    assert torch.equal(first, dropping(ids))


def test_P1_without_dropout_training_mode_is_a_function() -> None:
    model, ids = decoder().train(), random_ids(2, 6)
    assert torch.equal(model(ids), model(ids))
    assert torch.equal(model(ids), model.eval()(ids))


def test_tied_weights_are_one_matrix() -> None:
    tied, untied = decoder(), decoder(tied=False)
    assert {*untied.state_dict()} - {*tied.state_dict()} == {"head.weight"}
    counts = [sum(p.numel() for p in model.parameters()) for model in (tied, untied)]
    assert counts[1] - counts[0] == 23 * 24
    states = tied.hidden(random_ids(1, 3))
    torch.testing.assert_close(tied.logits(states), states @ tied.embedding.weight.T)


def test_weights_start_with_the_deviation_of_their_fan_in() -> None:
    torch.manual_seed(0)
    model = Transformer(config(vocab_size=400, width=64, n_head=4, ffn_width=256, tied=False))
    expected = {
        "embedding.weight": 64**-0.5,
        "blocks.0.attention.qkv.weight": 64**-0.5,
        "blocks.1.feed_forward.gate_up.weight": 64**-0.5,
        "blocks.0.attention.output.weight": 0,
        "blocks.1.feed_forward.down.weight": 0,
        "head.weight": 64**-0.5,
    }
    state = model.state_dict()
    for name, std in expected.items():
        assert math.isclose(float(state[name].std()), std, rel_tol=0.05), name
