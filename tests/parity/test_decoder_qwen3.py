"""Our decoder has the shape of Qwen3: with the same weights the scores are the same."""

import pytest
import torch
from torch import Tensor
from transformers import Qwen3Config, Qwen3ForCausalLM

from jielong.model.config import RopeConfig
from jielong.model.transformer import Transformer
from tests.tiny import decoder, random_ids

pytestmark = pytest.mark.parity


def qwen3_weights(model: Transformer) -> dict[str, Tensor]:
    """Our weights under Qwen3's names: the fused projections come apart."""
    config, state = model.config, model.state_dict()
    sizes = [config.width] + [config.n_kv_head * config.head_dim] * 2
    weights = {
        "model.embed_tokens.weight": state["embedding.weight"],
        "model.norm.weight": state["norm.weight"],
        "lm_head.weight": state.get("head.weight", state["embedding.weight"]),
    }
    for i in range(config.n_layer):
        ours, theirs = f"blocks.{i}.", f"model.layers.{i}."
        q, k, v = state[ours + "attention.qkv.weight"].split(sizes)
        gate, up = state[ours + "feed_forward.gate_up.weight"].chunk(2)
        weights |= {
            theirs + "self_attn.q_proj.weight": q,
            theirs + "self_attn.k_proj.weight": k,
            theirs + "self_attn.v_proj.weight": v,
            theirs + "self_attn.o_proj.weight": state[ours + "attention.output.weight"],
            theirs + "self_attn.q_norm.weight": state[ours + "attention.query_norm.weight"],
            theirs + "self_attn.k_norm.weight": state[ours + "attention.key_norm.weight"],
            theirs + "mlp.gate_proj.weight": gate,
            theirs + "mlp.up_proj.weight": up,
            theirs + "mlp.down_proj.weight": state[ours + "feed_forward.down.weight"],
            theirs + "input_layernorm.weight": state[ours + "attention_norm.weight"],
            theirs + "post_attention_layernorm.weight": state[ours + "feed_forward_norm.weight"],
        }
    return weights


def qwen3(model: Transformer) -> Qwen3ForCausalLM:
    """A Qwen3 with our shape and our weights."""
    config = model.config
    theirs = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=config.vocab_size,
            hidden_size=config.width,
            intermediate_size=config.ffn_width,
            num_hidden_layers=config.n_layer,
            num_attention_heads=config.n_head,
            num_key_value_heads=config.n_kv_head,
            head_dim=config.head_dim,
            max_position_embeddings=config.context,
            rms_norm_eps=config.norm_eps,
            rope_parameters={"rope_type": "default", "rope_theta": config.rope.base},
            tie_word_embeddings=config.tied,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    )
    theirs.load_state_dict(qwen3_weights(model))  # strict: every weight has its place
    return theirs.eval()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("n_kv_head", [1, 2, 4])
@torch.no_grad()
def test_scores_are_equal(tied: bool, n_kv_head: int) -> None:
    ours = decoder(tied=tied, n_kv_head=n_kv_head, rope=RopeConfig())
    ids = random_ids(3, 32)
    scores = ours(ids)
    assert scores.std() > 0.5
    torch.testing.assert_close(scores, qwen3(ours)(ids).logits, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_scores_are_equal_where_rows_are_padded_on_the_left() -> None:
    ours = decoder()
    ids = random_ids(3, 12)
    is_token = torch.arange(12) >= torch.tensor([0, 5, 9])[:, None]
    ids = ids.masked_fill(~is_token, 0)
    positions = (is_token.cumsum(1) - 1).clamp(min=0)
    theirs = qwen3(ours)(ids, attention_mask=is_token.long(), position_ids=positions).logits
    torch.testing.assert_close(
        ours(ids, is_token=is_token)[is_token], theirs[is_token], atol=1e-5, rtol=1e-5
    )


def test_gradients_are_equal() -> None:
    """The loss of every next token, back to the embedding and the first projection."""
    ours = decoder(tied=False)
    theirs, ids = qwen3(ours), random_ids(2, 10)
    theirs(ids, labels=ids).loss.backward()
    scores = ours(ids[:, :-1])
    torch.nn.functional.cross_entropy(scores.flatten(0, 1), ids[:, 1:].flatten()).backward()
    pairs = {
        "model.embed_tokens.weight": ours.embedding.weight.grad,
        "model.layers.0.self_attn.q_proj.weight": ours.blocks[0].attention.qkv.weight.grad[:24],
        "model.layers.1.self_attn.k_norm.weight": ours.blocks[1].attention.key_norm.weight.grad,
    }
    found = dict(theirs.named_parameters())
    for name, gradient in pairs.items():
        torch.testing.assert_close(gradient, found[name].grad, atol=1e-5, rtol=1e-4)
