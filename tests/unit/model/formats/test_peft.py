import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from jielong.core.errors import CheckpointError, ConfigError
from jielong.model.formats.peft import CONFIG, WEIGHTS, is_adapter, merge_adapter, write_adapter
from jielong.model.lora import LoraConfig
from tests.tiny import config, decoder

LORA = LoraConfig(rank=2, alpha=3.0, targets=("blocks.0.attention.qkv",))
NAME = "base_model.model.model.layers.0.self_attn.{}.lora_{}.weight"


def tensors() -> dict[str, torch.Tensor]:
    """An adapter of one matrix: 24 wide, with 4 x 6 rows for Q and 2 x 6 each for K and V."""
    a, b = torch.arange(48.0).view(2, 24), torch.arange(96.0).view(48, 2)
    return {"blocks.0.attention.qkv.lora_a": a, "blocks.0.attention.qkv.lora_b": b}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_adapter(tmp_path, config(), LORA, tensors())
    return tmp_path


def test_one_matrix_of_ours_is_three_of_theirs(folder: Path) -> None:
    written = load_file(folder / WEIGHTS)
    a, b = tensors().values()
    assert len(written) == 6
    for name, rows in (("q_proj", b[:24]), ("k_proj", b[24:36]), ("v_proj", b[36:])):
        assert torch.equal(written[NAME.format(name, "A")], a)
        assert torch.equal(written[NAME.format(name, "B")], rows)
    settings = json.loads((folder / CONFIG).read_text())
    assert settings["target_modules"] == [f"model.layers.0.self_attn.{x}_proj" for x in "kqv"]
    assert (settings["r"], settings["lora_alpha"]) == (2, 3.0)
    assert is_adapter(folder)


def test_merging_adds_b_a_to_its_own_rows_alone(folder: Path) -> None:
    model, before = decoder(), decoder().state_dict()
    merge_adapter(model, folder)
    a, b = tensors().values()
    for name, weight in model.state_dict().items():
        change = 1.5 * b @ a if name == "blocks.0.attention.qkv.weight" else 0.0
        torch.testing.assert_close(weight, before[name] + change)


def test_half_as_wide_numbers_are_read_too(tmp_path: Path) -> None:
    write_adapter(tmp_path, config(), LORA, tensors(), torch.bfloat16)
    assert load_file(tmp_path / WEIGHTS)[NAME.format("q_proj", "A")].dtype == torch.bfloat16
    model = decoder()
    merge_adapter(model, tmp_path)
    a, b = (tensor.bfloat16().float() for tensor in tensors().values())
    found = model.blocks[0].attention.qkv.weight - decoder().blocks[0].attention.qkv.weight
    torch.testing.assert_close(found, 1.5 * b @ a, atol=0.05, rtol=1e-4)


def test_a_shape_of_no_family_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="only models of such a shape can be exported"):
        write_adapter(tmp_path, config(norm_place="post"), LORA, tensors())
    assert not any(tmp_path.iterdir())


def set_key(key: str, value: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        settings = json.loads((folder / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps(settings | {key: value}))

    return change


def set_tensors(change: Callable[[dict], dict]) -> Callable[[Path], None]:
    return lambda folder: save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS)


Q_A, Q_B = NAME.format("q_proj", "A"), NAME.format("q_proj", "B")
BROKEN = {
    "dora": (set_key("use_dora", True), "use_dora: true: only plain LoRA is read"),
    "modules": (set_key("modules_to_save", ["head"]), r'modules_to_save: \["head"\]: only plain'),
    "bias": (set_key("bias", "all"), 'bias: "all": only plain LoRA'),
    "alphas": (set_key("alpha_pattern", {"q": 3}), "alpha_pattern: .*: only plain LoRA"),
    "kind": (set_key("peft_type", "IA3"), 'peft_type: "IA3": only plain LoRA'),
    "start": (set_key("init_lora_weights", "pissa"), 'init_lora_weights: "pissa": only plain'),
    "alpha": (set_key("lora_alpha", -1), "lora_alpha: -1: only plain LoRA"),
    "no-rank": (set_key("r", 0), "adapter_config.json: no adapter's settings"),
    "words": (set_key("r", "two"), "adapter_config.json: no adapter's settings"),
    "no-json": (lambda folder: (folder / CONFIG).write_text("{"), "no adapter's settings"),
    "cut": (
        lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:200]),
        "no whole safetensors file",
    ),
    "missing": (lambda folder: (folder / WEIGHTS).unlink(), "holds no weights: adapter_model"),
    "lone": (set_tensors(lambda t: t | {Q_A: t.pop(Q_B)}), "q_proj.lora_A.weight: is no pair"),
    "magnitude": (
        set_tensors(lambda t: t | {"base_model.model.x.lora_magnitude_vector": torch.ones(2)}),
        "lora_magnitude_vector: is no pair",
    ),
    "ranks": (set_tensors(lambda t: t | {Q_A: t[Q_A][:1]}), "A and B of .* do not fit together"),
    "nan": (
        set_tensors(lambda t: t | {Q_A: t[Q_A] / 0}),
        r"q_proj\.lora_A\.weight holds NaN or infinity",
    ),
    "integers": (
        set_tensors(lambda t: {name: t[name].to(torch.int8) for name in t}),
        "is stored as I8: only F32, F16, BF16 are read",
    ),
    "shape": (
        set_tensors(lambda t: t | {Q_B: t[Q_B][:-1].clone()}),
        "the adapter of .*q_proj is for 23 x 24, the model has 24 x 24",
    ),
    "layer": (
        set_tensors(lambda t: {name.replace("layers.0", "layers.7"): t[name] for name in t}),
        r"layers.7.self_attn.\w_proj is no matrix of this model",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_plain_adapter_of_this_model_is_refused(name: str, folder: Path) -> None:
    damage, message = BROKEN[name]
    damage(folder)
    with pytest.raises(CheckpointError, match=message) as caught:
        merge_adapter(decoder(), folder)
    assert "\n" not in str(caught.value)


def test_pickled_adapters_are_never_opened(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "adapter_model.bin")
    with pytest.raises(CheckpointError, match=r"adapter_model.bin: is pickled"):
        merge_adapter(decoder(), folder)
