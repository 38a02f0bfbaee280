"""Folders that `transformers` writes, read by us: the same scores. Folders we write: the same."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from jielong.model.config import RopeConfig
from jielong.model.formats.hugging_face import read_model, write_model
from jielong.model.kv_cache import KVCache
from jielong.model.transformer import Transformer
from tests.tiny import decoder, random_ids

pytestmark = pytest.mark.parity

VOCABULARY, CONTEXT, T = 48, 96, 40
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": CONTEXT,
    "pad_token_id": None,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GPT2 = {"vocab_size": VOCABULARY, "n_embd": 24, "n_layer": 3, "n_head": 4, "n_positions": CONTEXT}
GPT2 |= {"bos_token_id": 1, "eos_token_id": 2}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 24,
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 24}
WINDOWS = {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 1}
GEMMA = {"sliding_window": 7, "sliding_window_pattern": 3, "query_pre_attn_scalar": 11}


def case(kind: str, name: str, **settings: object):
    return pytest.param(kind, settings, id=f"{kind} {name}")


CASES = [
    case("gpt2", "plain"),
    case("gpt2", "untied", tie_word_embeddings=False),
    case("gpt2", "another feed-forward", activation_function="relu", n_inner=20),
    case("llama", "plain", rope_parameters={"rope_type": "default", "rope_theta": 500.0}),
    case("llama", "tied", tie_word_embeddings=True),
    case("llama", "every head its own", num_key_value_heads=4),
    case("llama", "biases", attention_bias=True),
    case("llama", "all biases", attention_bias=True, mlp_bias=True),
    case("llama", "large heads", head_dim=12, hidden_act="gelu"),
    case("llama", "linear", rope_parameters={"rope_type": "linear", "factor": 4.0}),
    case("llama", "llama3", rope_parameters={**LLAMA3, "rope_theta": 500.0}),
    case("llama", "older spelling", rope_scaling=LLAMA3, rope_theta=500.0),
    case("qwen2", "plain"),
    case("qwen2", "tied", tie_word_embeddings=True),
    case("qwen2", "windows", **WINDOWS),
    case("qwen2", "yarn", rope_parameters={**YARN, "rope_theta": 900.0}),
    case("qwen3", "plain"),
    case("qwen3", "tied", tie_word_embeddings=True, num_key_value_heads=1),
    case("qwen3", "windows", **WINDOWS, attention_bias=True),
    case(
        "qwen3",
        "yarn",
        rope_parameters={**YARN, "beta_fast": 8.0, "beta_slow": 2.0, "attention_factor": 1.3},
    ),
    case("qwen3", "yarn by two", rope_parameters={**YARN, "mscale": 0.7, "mscale_all_dim": 0.4}),
    case("gemma3_text", "plain", **GEMMA),
    case("gemma3_text", "untied", **GEMMA, tie_word_embeddings=False),
    case(
        "gemma3_text",
        "listed layers",
        sliding_window=5,
        layer_types=["full_attention", "sliding_attention", "sliding_attention"],
        query_pre_attn_scalar=8,
    ),
    case(
        "gemma3_text",
        "older spelling",
        **GEMMA,
        rope_theta=700.0,
        rope_local_base_freq=50.0,
        rope_scaling={"rope_type": "linear", "factor": 8.0},
    ),
]
each_case = pytest.mark.parametrize(("kind", "settings"), CASES)


def theirs(kind: str, settings: Mapping[str, Any]) -> transformers.PreTrainedModel:
    """A model of theirs in which every weight matters."""
    shape = GPT2 if kind == "gpt2" else SHAPE
    config = transformers.AutoConfig.for_model(kind, **{**shape, **settings})
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    random = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            is_gain = parameter.dim() == 1 and name.endswith("weight") and kind != "gemma3_text"
            parameter.normal_(1.0 if is_gain else 0.0, 0.25, generator=random)
    return model.eval()


def written(folder: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a folder's files, read by `safetensors`."""
    files = sorted(folder.glob("*.safetensors"))
    return {name: tensor for file in files for name, tensor in load_file(file).items()}


def ids() -> torch.Tensor:
    return random_ids(3, T, vocab_size=VOCABULARY)


def assert_equal(ours: torch.Tensor, expected: torch.Tensor) -> None:
    assert expected.std() > 0.3
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


@each_case
@torch.no_grad()
def test_a_folder_of_theirs_gives_their_scores(
    kind: str, settings: Mapping[str, Any], tmp_path: Path
) -> None:
    model = theirs(kind, settings)
    model.save_pretrained(tmp_path)
    ours = read_model(tmp_path)
    assert_equal(ours(ids()), model(ids()).logits)


@each_case
@torch.no_grad()
def test_a_folder_of_ours_gives_our_scores_there(
    kind: str, settings: Mapping[str, Any], tmp_path: Path
) -> None:
    """Out of one of theirs, which has all the parts; a second reading gives bit-equal tensors."""
    model = theirs(kind, settings)
    model.save_pretrained(tmp_path / "theirs")
    ours = read_model(tmp_path / "theirs")
    (tmp_path / "ours").mkdir()
    write_model(tmp_path / "ours", ours, max_shard_bytes=9000)
    assert len(list((tmp_path / "ours").glob("*.safetensors"))) > 2
    loaded, report = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "ours", attn_implementation="eager", output_loading_info=True
    )
    assert not any(report.values())
    assert type(loaded) is type(model)
    assert_equal(loaded.eval()(ids()).logits, model(ids()).logits)
    again = read_model(tmp_path / "ours")
    assert again.config.pattern(0) == ours.config.pattern(0)
    for name, tensor in ours.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    first, second = written(tmp_path / "theirs"), written(tmp_path / "ours")
    assert first.keys() == second.keys()
    if kind != "gemma3_text":  # there 1 + w is rounded, and the queries' gains have a factor
        for name, tensor in first.items():
            assert torch.equal(second[name], tensor), name


PADDED = [param for param in CASES if param.id and param.id.endswith(("plain", "windows", "yarn"))]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(("kind", "settings"), PADDED)
@torch.no_grad()
def test_padding_changes_nothing(
    kind: str, settings: Mapping[str, Any], side: str, tmp_path: Path
) -> None:
    """As it changes nothing there, where positions are told to count tokens only."""
    model = theirs(kind, settings)
    model.save_pretrained(tmp_path)
    missing = torch.tensor([0, 3, 29])[:, None]
    places = torch.arange(T)
    is_token = places >= missing if side == "left" else places < T - missing
    rows = ids().masked_fill(~is_token, 0)
    positions = (is_token.cumsum(1) - 1).clamp(min=0)
    expected = model(rows, attention_mask=is_token.long(), position_ids=positions).logits
    ours = read_model(tmp_path)(rows, is_token=is_token)
    assert_equal(ours[is_token], expected[is_token])


@pytest.mark.parametrize(("kind", "settings"), PADDED)
@torch.no_grad()
def test_cached_decoding_gives_their_scores_at_every_position(
    kind: str, settings: Mapping[str, Any], tmp_path: Path
) -> None:
    """A prompt at once, then one token at a time, well past the windows."""
    model = theirs(kind, settings)
    model.save_pretrained(tmp_path)
    ours = read_model(tmp_path)
    cache = KVCache(ours.config, 3, T)
    steps = [ids()[:, :5], *ids()[:, 5:].split(1, dim=1)]
    found = [ours.logits(ours.hidden(step, cache=cache)) for step in steps]
    assert_equal(torch.cat(found, dim=1), model(ids()).logits)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@torch.no_grad()
def test_half_numbers_are_read_as_they_are(dtype: str, tmp_path: Path) -> None:
    """Ours computes in float32 with them, as theirs does where it is asked to."""
    theirs("gemma3_text", GEMMA).to(getattr(torch, dtype)).save_pretrained(tmp_path)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, dtype=torch.float32, attn_implementation="eager"
    )
    assert {tensor.dtype for tensor in written(tmp_path).values()} == {getattr(torch, dtype)}
    assert_equal(read_model(tmp_path)(ids()), model(ids()).logits)


@pytest.mark.parametrize("kind", ["qwen3", "gpt2"])
@torch.no_grad()
def test_half_numbers_are_written(kind: str, tmp_path: Path) -> None:
    model = theirs(kind, {}).bfloat16()
    (tmp_path / "theirs").mkdir()
    (tmp_path / "ours").mkdir()
    model.save_pretrained(tmp_path / "theirs")
    write_model(tmp_path / "ours", read_model(tmp_path / "theirs"), dtype=torch.bfloat16)
    first, second = written(tmp_path / "theirs"), written(tmp_path / "ours")
    assert all(torch.equal(second[name], tensor) for name, tensor in first.items())
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours")
    assert loaded.dtype == torch.bfloat16


@torch.no_grad()
def test_shards_of_theirs_are_read(tmp_path: Path) -> None:
    model = theirs("llama", {})
    model.save_pretrained(tmp_path, max_shard_size="12KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert_equal(read_model(tmp_path)(ids()), model(ids()).logits)


@torch.no_grad()
def test_a_model_saved_without_its_head_is_read(tmp_path: Path) -> None:
    """GPT-2's own files leave out the first part of the names, and hold masks beside weights."""
    model = theirs("gpt2", {})
    model.transformer.save_pretrained(tmp_path)
    weights = written(tmp_path)
    assert "wte.weight" in weights
    weights |= {"h.0.attn.bias": torch.ones(1, 1, CONTEXT, CONTEXT, dtype=torch.uint8)}
    save_file(weights, tmp_path / "model.safetensors")
    model.config.architectures = ["GPT2LMHeadModel"]
    model.config.save_pretrained(tmp_path)
    assert_equal(read_model(tmp_path)(ids()), model(ids()).logits)


def ours(**changes: object) -> Transformer:
    settings = {"vocab_size": VOCABULARY, "context": CONTEXT, "rope": RopeConfig(base=700.0)}
    return decoder(**settings | changes)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("qwen3", {}),
        ("qwen3", {"tied": False, "head_size": 10, "attention": "sliding:9 dense"}),
        ("llama", {"qk_norm": False}),
        ("llama", {"qk_norm": False, "tied": False, "ffn": "geglu", "bias": "all"}),
        ("qwen2", {"qk_norm": False, "bias": "qkv"}),
        (
            "gemma3_text",
            {
                "norm_place": "both",
                "scale_embedding": True,
                "ffn": "geglu_tanh",
                "attention": "sliding:9*2 dense",
            },
        ),
        (
            "gpt2",
            {
                "positions": "learned",
                "norm": "layer",
                "qk_norm": False,
                "bias": "all",
                "n_kv_head": 4,
                "ffn": "gelu_tanh",
            },
        ),
    ],
)
@torch.no_grad()
def test_each_shape_of_ours_passes_for_a_family(
    kind: str, changes: dict[str, object], tmp_path: Path
) -> None:
    model = ours(**changes)
    write_model(tmp_path, model)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, attn_implementation="eager"
    )
    assert loaded.config.model_type == kind
    assert_equal(loaded.eval()(ids()).logits, model(ids()))
