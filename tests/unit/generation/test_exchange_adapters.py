"""Adapters out and in: from a run's model to PEFT's files, and merged into a model again."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from jielong.cli import main
from jielong.core.errors import CheckpointError, ConfigError, RunDirectoryError
from jielong.generation.exchange import export_adapter, export_folder, export_gguf, import_model
from jielong.generation.loading import load_assistant, save_model
from jielong.model.lora import LoraConfig, adapters, add_adapters
from tests.tiny import decoder, random_ids, tokenizer


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """A run's model."""
    save_model(tmp_path / "run", decoder(vocab_size=tokenizer().vocab_size), tokenizer())
    return tmp_path / "run"


@pytest.fixture
def adapted(tmp_path: Path) -> Path:
    """A run that taught an adapter to the model of `ours`."""
    model = decoder(vocab_size=tokenizer().vocab_size)
    add_adapters(model, LoraConfig(rank=2))
    for layer in adapters(model).values():
        torch.nn.init.constant_(layer.lora_b, 0.1)
    save_model(tmp_path / "adapted", model, tokenizer())
    return tmp_path / "adapted"


def test_an_adapter_goes_out_and_comes_back_through_the_command_line(
    ours: Path, adapted: Path, tmp_path: Path
) -> None:
    adapter, merged = tmp_path / "adapter", tmp_path / "merged"
    assert main(["export", str(adapted), str(adapter), "--format", "peft"]) == 0
    names = {path.name for path in adapter.iterdir()}
    assert names == {"adapter_config.json", "adapter_model.safetensors"}
    assert main(["import", str(adapter), str(merged), "--base", str(ours)]) == 0
    ids = random_ids(2, 9)
    found, expected = (load_assistant(path).model(ids) for path in (merged, adapted))
    torch.testing.assert_close(found, expected)
    assert (found - load_assistant(ours).model(ids)).abs().max() > 0.1
    assert load_assistant(merged).tokenizer.sha256 == tokenizer().sha256


@pytest.mark.parametrize("kind", ["gguf", "hf"])
def test_the_base_may_be_another_programs(
    kind: str, ours: Path, adapted: Path, tmp_path: Path
) -> None:
    export_adapter(adapted, tmp_path / "adapter")
    export = export_gguf if kind == "gguf" else export_folder
    export(ours, tmp_path / f"base.{kind}")
    import_model(tmp_path / "adapter", tmp_path / "merged", tmp_path / f"base.{kind}")
    ids = random_ids(2, 9)
    found, expected = (load_assistant(p).model(ids) for p in (tmp_path / "merged", adapted))
    torch.testing.assert_close(found, expected)


def test_others_may_read_an_adapter(adapted: Path, tmp_path: Path) -> None:
    export_adapter(adapted, tmp_path / "adapter")
    weights = tmp_path / "adapter" / "adapter_model.safetensors"
    assert weights.stat().st_mode & 0o777 == 0o644


def test_an_adapter_and_a_model_are_not_taken_for_each_other(
    ours: Path, adapted: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="run/model: was trained without adapters"):
        export_adapter(ours, tmp_path / "x")
    export_adapter(adapted, tmp_path / "adapter")
    export_folder(ours, tmp_path / "theirs")
    with pytest.raises(RunDirectoryError, match="adapter: is an adapter: say with --base"):
        import_model(tmp_path / "adapter", tmp_path / "x")
    with pytest.raises(RunDirectoryError, match="theirs: is no PEFT adapter: leave --base out"):
        import_model(tmp_path / "theirs", tmp_path / "x", ours)
    with pytest.raises(CheckpointError, match=r"adapter_model\.safetensors: "):
        import_model(tmp_path / "adapter", tmp_path / "x", narrow(tmp_path))
    assert not (tmp_path / "x").exists()


QKV = "blocks.1.attention.qkv.lora_a"
DAMAGED = {
    "empty": (lambda _: None, r"adapter\.safetensors: no whole safetensors file"),
    "lacks": (lambda t: t.pop(QKV), f"holds no {QKV}, and adapter.toml asks for it"),
    "other": (lambda t: t.update(x=torch.ones(1)), "x has no place in a model of that adapter"),
    "rank": (lambda t: t.update({QKV: torch.ones(3, 24)}), "is 3 x 24 and .* asks for 2 x 24"),
    "nan": (lambda t: t[QKV].fill_(torch.nan), f"{QKV} holds NaN or infinity"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_adapter_is_not_written_out(name: str, adapted: Path, tmp_path: Path) -> None:
    damage, message = DAMAGED[name]
    file = adapted / "model" / "adapter.safetensors"
    tensors = load_file(file)
    damage(tensors)
    file.unlink()
    if name == "empty":
        file.write_bytes(b"")
    else:
        save_file(tensors, file)
    with pytest.raises(CheckpointError, match=message):
        export_adapter(adapted, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def narrow(path: Path) -> Path:
    """A model of another width."""
    model = decoder(vocab_size=tokenizer().vocab_size, width=16)
    save_model(path / "narrow", model, tokenizer())
    return path / "narrow"
