"""Our bidirectional and encoder-decoder models have the shapes of BERT and BART.

Neither is a family whose folders we read: the weights are brought over here, name by name.
"""

from collections.abc import Mapping

import pytest
import torch
import transformers
from torch import Tensor, nn

from jielong.model.config import ModelConfig
from jielong.model.encoder_decoder import EncoderDecoder, shift_right
from jielong.model.kv_cache import KVCache
from jielong.model.transformer import Transformer
from tests.tiny import random_ids

pytestmark = pytest.mark.parity

SHAPE = {"vocab_size": 40, "context": 30, "n_layer": 2, "width": 24, "n_head": 4, "n_kv_head": 4}
ORIGINAL = {
    "positions": "learned",
    "norm": "layer",
    "norm_place": "post",
    "embedding_norm": True,
    "qk_norm": False,
    "bias": "all",
    "ffn": "gelu",
    "ffn_width": 36,
}
BERT_LAYER = {
    "attention.qkv": ["attention.self.query", "attention.self.key", "attention.self.value"],
    "attention.output": ["attention.output.dense"],
    "attention_norm": ["attention.output.LayerNorm"],
    "feed_forward.up": ["intermediate.dense"],
    "feed_forward.down": ["output.dense"],
    "feed_forward_norm": ["output.LayerNorm"],
}
BART_LAYER = {
    "attention.qkv": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    "attention.output": ["self_attn.out_proj"],
    "attention_norm": ["self_attn_layer_norm"],
    "cross.query": ["encoder_attn.q_proj"],
    "cross.key_value": ["encoder_attn.k_proj", "encoder_attn.v_proj"],
    "cross.output": ["encoder_attn.out_proj"],
    "cross_norm": ["encoder_attn_layer_norm"],
    "feed_forward.up": ["fc1"],
    "feed_forward.down": ["fc2"],
    "feed_forward_norm": ["final_layer_norm"],
}


def layers(theirs: Mapping[str, Tensor], prefix: str, table: Mapping[str, list[str]]):
    """The tensors of our blocks, each put together from one or several of theirs."""
    return {
        f"blocks.{i}.{ours}.{kind}": torch.cat(
            [theirs[f"{prefix}{i}.{name}.{kind}"] for name in names]
        )
        for i in range(SHAPE["n_layer"])
        for ours, names in table.items()
        for kind in ("weight", "bias")
        if f"{prefix}{i}.{names[0]}.{kind}" in theirs
    }


def load(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """All of them, and nothing else."""
    model.load_state_dict(dict(weights))
    model.eval()


def assert_equal(ours: Tensor, expected: Tensor) -> None:
    assert expected.std() > 0.3
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


def bert() -> transformers.BertModel:
    config = transformers.BertConfig(
        vocab_size=40,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=36,
        max_position_embeddings=30,
        attn_implementation="eager",
    )
    theirs = transformers.BertModel(config, add_pooling_layer=False)
    randomise_all(theirs)
    return theirs.eval()


def randomise_all(model: nn.Module) -> None:
    random = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            is_gain = "norm" in name.lower() and name.endswith("weight")
            parameter.normal_(1.0 if is_gain else 0.0, 0.3, generator=random)


def from_bert(theirs: transformers.BertModel) -> Transformer:
    weights = theirs.state_dict()
    ours = Transformer(
        ModelConfig(**SHAPE | ORIGINAL, bidirectional=True, segments=2, norm_eps=1e-12)
    )
    load(
        ours,
        {
            "embedding.weight": weights["embeddings.word_embeddings.weight"],
            "position_embedding.weight": weights["embeddings.position_embeddings.weight"],
            "segment_embedding.weight": weights["embeddings.token_type_embeddings.weight"],
            "embedding_norm.weight": weights["embeddings.LayerNorm.weight"],
            "embedding_norm.bias": weights["embeddings.LayerNorm.bias"],
            **layers(weights, "encoder.layer.", BERT_LAYER),
        },
    )
    return ours


@torch.no_grad()
def test_states_and_masked_scores_are_berts() -> None:
    """The scores as BERT's tied output reads them; its extra layer before that is not ours."""
    theirs, ids = bert(), random_ids(3, 20, vocab_size=40)
    ours = from_bert(theirs)
    segments = (torch.arange(20) > torch.tensor([4, 9, 30])[:, None]).long()
    is_token = torch.arange(20) < torch.tensor([20, 13, 2])[:, None]
    expected = theirs(ids, attention_mask=is_token.long(), token_type_ids=segments)
    found = ours.hidden(ids, segments=segments, is_token=is_token)
    assert_equal(found[is_token], expected.last_hidden_state[is_token])
    scores = expected.last_hidden_state @ theirs.get_input_embeddings().weight.T
    assert_equal(ours.logits(found)[is_token], scores[is_token])


@torch.no_grad()
def test_both_ways_means_both_ways() -> None:
    """With the order of GPT the same weights give other states: the first test would tell."""
    theirs, ids = bert(), random_ids(1, 9, vocab_size=40)
    ours = from_bert(theirs)
    segments = torch.zeros(1, 9, dtype=torch.long)
    before = ours.hidden(ids, segments=segments)
    ids[0, -1] = 1
    assert not torch.allclose(before[:, 0], ours.hidden(ids, segments=segments)[:, 0], atol=1e-3)


def bart(**changes: object) -> transformers.BartForConditionalGeneration:
    settings = {
        "vocab_size": 40,
        "d_model": 24,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 36,
        "decoder_ffn_dim": 36,
        "max_position_embeddings": 30,
        "attn_implementation": "eager",
        "decoder_start_token_id": 2,
        "forced_eos_token_id": None,
    }
    theirs = transformers.BartForConditionalGeneration(
        transformers.BartConfig(**settings | changes)
    )
    randomise_all(theirs)
    return theirs.eval()


def from_bart(theirs: transformers.BartForConditionalGeneration) -> EncoderDecoder:
    weights = {name.removeprefix("model."): tensor for name, tensor in theirs.state_dict().items()}
    scaled = theirs.config.scale_embedding
    ours = EncoderDecoder(ModelConfig(**SHAPE | ORIGINAL, norm_eps=1e-5, scale_embedding=scaled))
    found = {}
    for side in ("encoder", "decoder"):
        table = {k: v for k, v in BART_LAYER.items() if side == "decoder" or "cross" not in k}
        found |= {
            f"{side}.embedding.weight": weights["shared.weight"],
            # Theirs leaves the first two rows unused.
            f"{side}.position_embedding.weight": weights[f"{side}.embed_positions.weight"][2:],
            f"{side}.embedding_norm.weight": weights[f"{side}.layernorm_embedding.weight"],
            f"{side}.embedding_norm.bias": weights[f"{side}.layernorm_embedding.bias"],
        }
        found |= {
            f"{side}.{name}": tensor
            for name, tensor in layers(weights, f"{side}.layers.", table).items()
        }
    load(ours, found)
    return ours


@pytest.mark.parametrize("scaled", [False, True])
@torch.no_grad()
def test_scores_are_barts(scaled: bool) -> None:
    theirs = bart(scale_embedding=scaled)
    ours = from_bart(theirs)
    source, target = random_ids(3, 18, vocab_size=40), random_ids(3, 11, seed=1, vocab_size=40)
    is_token = torch.arange(18) < torch.tensor([18, 7, 1])[:, None]
    read = shift_right(target, 2)
    expected = theirs(source, attention_mask=is_token.long(), decoder_input_ids=read).logits
    assert_equal(ours(source, read, source_is_token=is_token), expected)
    shifted = theirs(source, attention_mask=is_token.long(), labels=target).logits
    assert_equal(shifted, expected)  # and its own shift of the labels is ours


@torch.no_grad()
def test_a_decoder_with_a_cache_gives_barts_scores() -> None:
    theirs = bart()
    ours = from_bart(theirs)
    source, target = random_ids(2, 18, vocab_size=40), random_ids(2, 11, seed=1, vocab_size=40)
    memory = ours.encode(source)
    cache = KVCache(ours.config, 2, 11)
    steps = [
        ours.logits(ours.hidden(step, memory=memory, cache=cache))
        for step in [target[:, :3], *target[:, 3:].split(1, dim=1)]
    ]
    assert_equal(torch.cat(steps, dim=1), theirs(source, decoder_input_ids=target).logits)
