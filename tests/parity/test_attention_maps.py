"""The attention weights and states that a page shows are those that transformers gives."""

import pytest
import torch
from transformers import Qwen3ForCausalLM

from jielong.evaluation.inspect_trace import trace
from jielong.model.config import RopeConfig
from tests.parity.test_decoder_qwen3 import qwen3
from tests.tiny import decoder, random_ids

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("n_kv_head", [1, 2, 4])
@pytest.mark.parametrize("attention", ["dense", "dense sliding:5"])
@torch.no_grad()
def test_maps_and_states_are_equal(n_kv_head: int, attention: str) -> None:
    ours = decoder(n_kv_head=n_kv_head, attention=attention, rope=RopeConfig())
    ids = random_ids(19)
    theirs = eager(qwen3(ours), attention)(
        ids[None], output_attentions=True, output_hidden_states=True
    )
    found = trace(ours, ids.tolist())
    maps = torch.stack([layer[0] for layer in theirs.attentions])
    assert maps.std() > 0.05
    torch.testing.assert_close(found.attention, maps, atol=1e-5, rtol=1e-5)
    states = torch.stack([state[0] for state in theirs.hidden_states])
    ours_normed = torch.cat([found.states[:-1], ours.norm(found.states[-1:])])  # as theirs are
    torch.testing.assert_close(ours_normed, states, atol=1e-5, rtol=1e-5)
    assert (maps[1] == 0).sum() > 4 * 19 * 18 / 2 or attention == "dense"


def eager(model: Qwen3ForCausalLM, attention: str) -> Qwen3ForCausalLM:
    """The same model with the attention that keeps its weights, and windows where we have them."""
    config, weights = model.config, model.state_dict()
    config._attn_implementation = "eager"
    if "sliding" in attention:
        config.layer_types = ["full_attention", "sliding_attention"]
        config.sliding_window = 5
    made = Qwen3ForCausalLM(config)
    made.load_state_dict(weights)
    return made.eval()
