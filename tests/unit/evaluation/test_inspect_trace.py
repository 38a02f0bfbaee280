import pytest
import torch

from jielong.evaluation.inspect_trace import trace
from tests.tiny import decoder, random_ids

IDS = random_ids(7).tolist()


def test_a_layer_looks_where_its_pattern_says() -> None:
    """Seven positions: all earlier ones in the first layer, one back in the second."""
    near = torch.eye(7, dtype=torch.bool)
    near[torch.arange(1, 7), torch.arange(6)] = True
    maps = trace(decoder(attention="dense sliding:2"), IDS).attention
    assert torch.equal(maps[0] > 0, torch.ones(4, 7, 7, dtype=torch.bool).tril())
    assert torch.equal(maps[1] > 0, near.expand(4, 7, 7))


def test_a_model_that_sees_both_ways_looks_everywhere() -> None:
    assert (trace(decoder(bidirectional=True), IDS).attention > 0).all()


def test_heads_differ_though_they_share_keys() -> None:
    maps = trace(decoder(n_kv_head=1), IDS).attention
    assert all((maps[0, 0] - maps[0, head]).abs().max() > 0.01 for head in (1, 2, 3))


def test_no_hook_stays_behind() -> None:
    model = decoder()
    trace(model, IDS)
    with pytest.raises(IndexError):
        trace(model, [99])
    assert not any(module._forward_hooks for module in model.modules())
