import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from jielong.core.errors import CheckpointError, ConfigError
from jielong.model.formats.hugging_face import read_model, write_model
from tests.tiny import decoder, random_ids
from tests.unit.model.formats.faults import (
    WEIGHTS,
    edit,
    folder_of,
    set_config,
    set_header_length,
)

Q = "model.layers.1.self_attn.q_proj.weight"


def refused(folder: Path) -> str:
    """The one line that reading a folder ends with."""
    with pytest.raises(CheckpointError) as caught:
        read_model(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(folder))
    return message.removeprefix(str(folder)).removeprefix("/")


def test_a_model_comes_back_bit_for_bit(tmp_path: Path) -> None:
    model = decoder(tied=False)
    write_model(tmp_path, model)
    again = read_model(tmp_path)
    assert again.config == model.config
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    assert torch.equal(again(random_ids(2, 9)), model(random_ids(2, 9)))
    assert not again.training
    assert all(parameter.requires_grad for parameter in again.parameters())


def test_shards_hold_no_more_than_they_may(tmp_path: Path) -> None:
    model = decoder(n_layer=3)
    write_model(tmp_path, model, max_shard_bytes=8000)
    files = sorted(tmp_path.glob("*.safetensors"))
    assert [file.name for file in files] == [
        f"model-{i:05}-of-{len(files):05}.safetensors" for i in range(1, len(files) + 1)
    ]
    sizes = [sum(t.nbytes for t in load_file(file).values()) for file in files]
    assert len(files) > 3
    assert max(sizes) <= 8000
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text(encoding="utf-8"))
    assert index["metadata"]["total_size"] == sum(sizes)
    for file in files:
        assert {n for n, f in index["weight_map"].items() if f == file.name} == {*load_file(file)}
    assert torch.equal(read_model(tmp_path)(random_ids(1, 9)), model(random_ids(1, 9)))


def test_a_tensor_that_is_too_large_has_a_file_of_its_own(tmp_path: Path) -> None:
    write_model(tmp_path, decoder(), max_shard_bytes=1)
    assert all(len(load_file(file)) == 1 for file in tmp_path.glob("*.safetensors"))
    read_model(tmp_path)


def test_a_cut_file_is_named(tmp_path: Path) -> None:
    file = folder_of(tmp_path) / WEIGHTS
    whole = file.read_bytes()
    for size in (0, 5, 100, len(whole) - 1):
        file.write_bytes(whole[:size])
        assert refused(tmp_path).startswith("model.safetensors: no whole safetensors file (")


@pytest.mark.parametrize("length", [0, 7, 500, 10**9, 2**63])
def test_a_wrong_header_length_is_named(tmp_path: Path, length: int) -> None:
    set_header_length(folder_of(tmp_path), length)
    assert refused(tmp_path).startswith("model.safetensors: no whole safetensors file (")


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    edit(folder_of(tmp_path), lambda weights: weights.pop(Q))
    assert refused(tmp_path) == f": holds no {Q}: copy its weights anew"


def test_a_tensor_too_many_is_named(tmp_path: Path) -> None:
    extra = {"model.layers.2.mlp.down_proj.weight": torch.ones(24, 40)}
    edit(folder_of(tmp_path), lambda weights: weights.update(extra))
    assert refused(tmp_path) == (
        "model.safetensors: model.layers.2.mlp.down_proj.weight has no place in a qwen3 model of "
        "this shape: give the config.json that belongs to the weights"
    )


def test_another_shape_is_named(tmp_path: Path) -> None:
    edit(folder_of(tmp_path), lambda weights: weights.update({Q: torch.ones(20, 24)}))
    assert refused(tmp_path) == (
        f"model.safetensors: {Q} is 20 x 24 and config.json asks for 24 x 24: they do not belong "
        "together; copy both from one place"
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_none_is_named(tmp_path: Path, value: float) -> None:
    def spoil(weights: dict[str, torch.Tensor]) -> None:
        weights[Q][7, 3] = value

    edit(folder_of(tmp_path), spoil)
    assert refused(tmp_path).startswith(f"model.safetensors: {Q} holds NaN or infinity: ")


def test_large_numbers_are_none_the_less_numbers(tmp_path: Path) -> None:
    """Their sum is infinite, they are not."""
    edit(folder_of(tmp_path), lambda weights: weights[Q].fill_(3e38))
    assert read_model(tmp_path).state_dict()["blocks.1.attention.qkv.weight"].max() > 2e38


def test_quantised_weights_are_refused(tmp_path: Path) -> None:
    edit(folder_of(tmp_path), lambda weights: weights.update({Q: weights[Q].to(torch.int8)}))
    assert refused(tmp_path).startswith(
        f"model.safetensors: {Q} is stored as I8: only F32, F16, BF16 are read; "
    )


def test_a_head_that_belies_its_tie_is_refused(tmp_path: Path) -> None:
    """Some files hold a tied head a second time; it has to be the same."""
    embedding = "model.embed_tokens.weight"
    edit(folder_of(tmp_path), lambda w: w.update({"lm_head.weight": w[embedding].clone()}))
    assert read_model(tmp_path).head is None
    edit(tmp_path, lambda weights: weights["lm_head.weight"].add_(1e-4))
    assert refused(tmp_path) == (
        "model.safetensors: lm_head.weight differs from the embedding, and config.json says that "
        "they are tied: set tie_word_embeddings to false there"
    )


def test_nothing_is_read_before_all_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing tensor at the end costs no minutes of reading first."""
    edit(folder_of(tmp_path), lambda weights: weights.pop("model.norm.weight"))
    monkeypatch.setattr(
        "jielong.model.formats.hugging_face.read_into", lambda *_: pytest.fail("read too early")
    )
    assert refused(tmp_path).startswith(": holds no model.norm.weight")


def test_a_folder_without_weights_is_named(tmp_path: Path) -> None:
    (folder_of(tmp_path) / WEIGHTS).unlink()
    assert refused(tmp_path) == ": holds no weights: model.safetensors is missing"


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "consolidated.00.pth"])
def test_pickled_weights_are_refused_with_the_command_that_converts_them(
    tmp_path: Path, name: str
) -> None:
    """The command is run here as it is printed, and the folder can then be read."""
    folder = tmp_path / "a model's folder"
    folder.mkdir()
    folder_of(folder)
    torch.save(load_file(folder / WEIGHTS), folder / name)
    (folder / WEIGHTS).unlink()
    (folder / "training_args.bin").write_bytes(b"no weights")
    message = refused(folder)
    assert message.startswith(f"{name}: is pickled, which can run any program when it is opened")
    _, *command = shlex.split(message.partition("convert it with ")[2])
    subprocess.run([sys.executable, *command], check=True)
    assert torch.equal(read_model(folder)(random_ids(1, 5)), decoder()(random_ids(1, 5)))


def test_a_shard_that_is_missing_is_named(tmp_path: Path) -> None:
    folder_of(tmp_path, max_shard_bytes=8000)
    index = tmp_path / "model.safetensors.index.json"
    first, second, *_ = sorted(file.name for file in tmp_path.glob("*.safetensors"))
    (tmp_path / second).rename(tmp_path / "kept")
    assert refused(tmp_path) == f"{second}: is missing, and {index.name} names it: copy it too"
    (tmp_path / second).write_bytes((tmp_path / first).read_bytes())
    assert refused(tmp_path).startswith(f"{second}: model.embed_tokens.weight is in {first} as")


def test_an_index_is_checked(tmp_path: Path) -> None:
    folder_of(tmp_path, max_shard_bytes=8000)
    index = tmp_path / "model.safetensors.index.json"
    listed = json.loads(index.read_text(encoding="utf-8"))
    first = sorted(file.name for file in tmp_path.glob("*.safetensors"))[0]
    for broken, message in [
        ({"model.never.weight": first}, f"{first}: model.never.weight is missing, and"),
        ({"model.norm.weight": "../model.safetensors"}, f"{index.name}: names files elsewhere"),
        ({"model.norm.weight": 3}, f"{index.name}: names files elsewhere"),
    ]:
        weight_map = listed["weight_map"] | broken
        index.write_text(json.dumps({"weight_map": weight_map}), encoding="utf-8")
        assert refused(tmp_path).startswith(message)
    index.write_text("[]", encoding="utf-8")
    assert refused(tmp_path).startswith(f"{index.name}: no index of weights (")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"attention": "dense strided:8"}, 'attention: "dense strided:8"'),
        ({"attention": "sliding:4 sliding:8"}, 'attention: "sliding:4 sliding:8"'),
        ({"attention": "sliding:8", "qk_norm": False}, "qk_norm: false"),
        ({"bidirectional": True}, "bidirectional: true"),
        ({"segments": 2, "turn_ids": (4,)}, "segments: 2"),
        ({"positions": "sinusoidal"}, 'positions: "sinusoidal"'),
        ({"ffn": "relu2"}, 'ffn: "relu2"'),
        ({"norm_place": "post"}, 'norm_place: "post"'),
        ({"embedding_norm": True, "bias": "qkv"}, "embedding_norm: true"),
        ({"width": 26, "head_size": 6}, "n_head: 4"),
    ],
)
def test_a_shape_that_no_family_has_is_refused(
    tmp_path: Path, changes: dict[str, object], named: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        write_model(tmp_path, decoder(**changes))
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not any(tmp_path.iterdir())


def test_a_dropout_that_is_none_is_named(tmp_path: Path) -> None:
    gpt2 = {"positions": "learned", "norm": "layer", "qk_norm": False, "bias": "all"}
    folder_of(tmp_path, ffn="gelu_tanh", n_kv_head=4, **gpt2)
    assert read_model(tmp_path).config.dropout == 0
    for value, shown in (([1], "[1]"), ("x", '"x"'), (False, "false"), (-1, "-1")):
        set_config(tmp_path, attn_pdrop=value)
        assert refused(tmp_path) == f"config.json: attn_pdrop: {shown}: expected a number above 0"


def test_a_broken_config_is_named(tmp_path: Path) -> None:
    folder_of(tmp_path)
    for text in ("{", "[]", ""):
        (tmp_path / "config.json").write_text(text, encoding="utf-8")
        assert refused(tmp_path).startswith("config.json: ")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_hidden_layers": 900, "layer_types": None}, "n_layer: 900: the weights are of 2 "),
        ({"hidden_size": 10**7}, "width: 10000000: no tensor of the weights is as large"),
        ({"intermediate_size": 2**31 - 1}, f"ffn_width: {2**31 - 1}: no tensor of the weights"),
        ({"head_dim": 2**30}, f"n_head * head_size: {2**32}: no tensor of the weights"),
        ({"vocab_size": 10**9}, "vocab_size: 1000000000: no tensor of the weights is as large"),
    ],
)
def test_a_model_that_the_weights_cannot_be_is_never_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], message: str
) -> None:
    set_config(folder_of(tmp_path), **changes)
    monkeypatch.setattr("jielong.model.transformer.Block", lambda *_, **__: pytest.fail("begun"))
    assert refused(tmp_path).startswith(f"config.json: {message}")


@pytest.mark.parametrize("key", ["hidden_size", "vocab_size", "num_hidden_layers"])
def test_a_size_that_is_missing_is_named(tmp_path: Path, key: str) -> None:
    set_config(folder_of(tmp_path), **{key: None})
    assert refused(tmp_path) == (
        f"config.json: {key}: is missing: give the config.json that belongs to the weights"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model_type": "mamba"},
            'model_type: "mamba": only qwen3, llama, qwen2, gemma3_text, gpt2',
        ),
        ({"model_type": None}, "model_type: null: only"),
        ({"architectures": ["Qwen3ForSequenceClassification"]}, "architectures: "),
        ({"architectures": 3}, "architectures: 3: only Qwen3ForCausalLM can be read"),
        ({"quantization_config": {"bits": 4}}, 'quantization_config: {"bits": 4}: asks for a part'),
        ({"num_experts": 8}, "num_experts: 8: asks for a part"),
        ({"attn_logit_softcapping": 50.0}, "attn_logit_softcapping: 50.0: asks for a part"),
        ({"final_logit_softcapping": 30.0}, "final_logit_softcapping: 30.0: asks for a part"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor: 0.5: asks for a part"),
        ({"hidden_act": "mish"}, 'hidden_act: "mish": only silu, '),
        ({"hidden_size": 24.0}, "hidden_size: 24.0: expected a whole number above 0"),
        ({"hidden_size": -1}, "hidden_size: -1: expected a whole number above 0"),
        ({"hidden_size": 2**62}, f"hidden_size: {2**62}: expected at most {2**31 - 1}"),
        ({"max_position_embeddings": 10**400}, "max_position_embeddings: 1000"),
        ({"num_hidden_layers": 10**6}, "num_hidden_layers: 1000000: expected at most 1000"),
        ({"num_attention_heads": True}, "num_attention_heads: true: expected a whole number"),
        ({"rms_norm_eps": "small"}, 'rms_norm_eps: "small": expected a number above 0'),
        ({"tie_word_embeddings": "yes"}, 'tie_word_embeddings: "yes": expected true or false'),
        ({"num_key_value_heads": 3}, "no model can be built: n_kv_head: 3: must divide n_head 4"),
        (
            {"layer_types": ["full_attention"]},
            'layer_types: ["full_attention"]: expected a list of',
        ),
        (
            {"layer_types": ["full_attention", "linear_attention"]},
            'layer_types: "linear_attention"',
        ),
        (
            {"layer_types": ["full_attention", "sliding_attention"], "sliding_window": None},
            "sliding_window: is missing",
        ),
        (
            {"max_window_layers": "many", "layer_types": None},
            'max_window_layers: "many": expected a whole number',
        ),
        ({"rope_scaling": {"rope_type": "longrope"}}, 'rope_scaling: rope_type: "longrope": only'),
        ({"rope_scaling": {"type": "linear"}}, "rope_scaling: factor: is missing"),
        ({"rope_scaling": {"type": "linear", "factor": 0}}, "rope_scaling: factor: 0: expected a"),
        ({"rope_scaling": [1]}, "rope_scaling: [1]: expected a table"),
        (
            {"rope_scaling": {"type": "linear", "factor": 2.0, "mrope_section": [1]}},
            "rope_scaling: mrope_section: [1]: linear has no such setting",
        ),
        (
            {"rope_scaling": {"type": "yarn", "factor": 2.0, "truncate": False}},
            "rope_scaling: truncate: false: asks for a part that is not here",
        ),
        (
            {"rope_parameters": {"rope_type": "llama3", "factor": 2.0, "low_freq_factor": 9.0}},
            "rope_parameters: rope_type: llama3: low_frequency_factor: 9.0: must be below",
        ),
    ],
)
def test_what_a_config_asks_for_in_vain_is_named(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    set_config(folder_of(tmp_path), **changes)
    assert refused(tmp_path).startswith(f"config.json: {message}")
