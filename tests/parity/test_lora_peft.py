"""Adapters of ours in `peft`, and adapters of `peft` in ours."""

import json
from pathlib import Path

import peft
import pytest
import torch
import transformers
from torch import nn

from jielong.generation.exchange import export_adapter, import_model
from jielong.generation.loading import load_assistant, save_model
from jielong.model.formats.hugging_face import read_model, write_model
from jielong.model.formats.peft import merge_adapter
from jielong.model.lora import LoraConfig, LoraLinear, adapters, add_adapters, merged_state
from jielong.model.transformer import Transformer
from tests.parity.test_families_transformers import GEMMA, theirs
from tests.tiny import decoder, random_ids, tokenizer

pytestmark = [
    pytest.mark.parity,
    # What peft asks of transformers, not we.
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning"),
]

GPT2 = {
    "positions": "learned",
    "norm": "layer",
    "ffn": "gelu_tanh",
    "qk_norm": False,
    "bias": "all",
    "n_kv_head": 4,
}
SIZE = tokenizer().vocab_size


def adapted(targets: tuple[str, ...], **changes: object) -> Transformer:
    """A model with an adapter that changes what it says."""
    model = decoder(vocab_size=SIZE, **changes)
    add_adapters(model, LoraConfig(rank=3, alpha=4.5, dropout=0.1, targets=targets))
    random = torch.Generator().manual_seed(1)
    for layer in adapters(model).values():
        nn.init.normal_(layer.lora_b, std=0.2, generator=random)
    return model


@pytest.mark.parametrize(
    ("shape", "targets", "named"),
    [
        ({}, ("attention.*", "feed_forward.*"), {"q_proj", "o_proj", "gate_proj", "down_proj"}),
        ({}, ("blocks.1.attention.qkv",), {"model.layers.1.self_attn.v_proj"}),
        ({"tied": False}, ("qkv", "head"), {"q_proj", "k_proj", "lm_head"}),
        (GPT2, ("attention.*",), {"c_attn", "transformer.h.0.attn.c_proj"}),
    ],
    ids=["qwen3", "one-layer", "head", "gpt2"],
)
def test_an_adapter_of_ours_in_peft(
    shape: dict, targets: tuple[str, ...], named: set[str], tmp_path: Path
) -> None:
    """On the model as it was before, and merged there, it is the adapted model."""
    model, ids = adapted(targets, **shape), random_ids(2, 9, vocab_size=SIZE)
    (tmp_path / "base").mkdir()
    write_model(tmp_path / "base", decoder(vocab_size=SIZE, **shape))
    save_model(tmp_path, model, tokenizer())
    export_adapter(tmp_path, tmp_path / "adapter")
    written = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert named <= set(written["target_modules"])
    base = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    plain = base(ids).logits
    loaded = peft.PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    expected = load_assistant(tmp_path).model(ids)
    torch.testing.assert_close(loaded(ids).logits, expected, atol=2e-4, rtol=1e-4)
    assert (plain - expected).abs().max() > 0.1
    config = loaded.peft_config["default"]
    assert (config.r, config.lora_alpha, config.lora_dropout) == (3, 4.5, 0.1)
    merged = loaded.merge_and_unload()
    torch.testing.assert_close(merged(ids).logits, expected, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("qwen3", {"target_modules": "all-linear"}),
        ("llama", {"target_modules": ["q_proj", "v_proj", "down_proj"], "use_rslora": True}),
        ("qwen2", {"target_modules": ["k_proj"], "rank_pattern": {"layers.1.self_attn.k_proj": 2}}),
        ("gemma3_text", {"target_modules": ["o_proj", "gate_proj"]}),
        ("gpt2", {"target_modules": ["c_attn", "c_fc"], "fan_in_fan_out": True}),
    ],
)
def test_an_adapter_of_peft_in_ours(kind: str, settings: dict, tmp_path: Path) -> None:
    base = theirs(kind, GEMMA if kind == "gemma3_text" else {})
    base.save_pretrained(tmp_path / "base")
    config = peft.LoraConfig(r=5, lora_alpha=7, task_type="CAUSAL_LM", **settings)
    theirs_adapted = peft.get_peft_model(base, config)
    torch.manual_seed(2)
    for name, parameter in theirs_adapted.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.2)
    theirs_adapted.save_pretrained(tmp_path / "adapter")
    model, ids = read_model(tmp_path / "base"), random_ids(2, 9)
    plain = model(ids)
    merge_adapter(model, tmp_path / "adapter")
    expected = theirs_adapted.eval()(ids).logits
    torch.testing.assert_close(model(ids), expected, atol=2e-4, rtol=1e-4)
    assert (plain - expected).abs().max() > 0.01


def test_out_to_peft_and_back_the_adapter_is_the_same(tmp_path: Path) -> None:
    save_model(tmp_path / "base", decoder(vocab_size=SIZE), tokenizer())
    model = adapted(("attention.*", "feed_forward.*"))
    save_model(tmp_path / "run", model, tokenizer())
    export_adapter(tmp_path / "run", tmp_path / "adapter")
    imported = import_model(tmp_path / "adapter", tmp_path / "merged", tmp_path / "base")
    for name, weight in merged_state(model).items():
        torch.testing.assert_close(imported.model.state_dict()[name], weight, msg=name)


def test_a_layer_is_theirs_to_the_step() -> None:
    """Outputs and the adapter's gradients beside their layer, dropout off."""
    ours, base = nn.Linear(7, 5), nn.Sequential(nn.Linear(7, 5))
    base[0].load_state_dict(ours.state_dict())
    layer = LoraLinear(ours, LoraConfig(rank=2, alpha=3.0))
    config = peft.LoraConfig(r=2, lora_alpha=3.0, target_modules=["0"])
    other = peft.get_peft_model(base, config).base_model.model[0]
    with torch.no_grad():
        nn.init.normal_(layer.lora_b)
        other.lora_A["default"].weight.copy_(layer.lora_a)
        other.lora_B["default"].weight.copy_(layer.lora_b)
    x = torch.randn(4, 7, generator=torch.Generator().manual_seed(0))
    for module in (layer, other):
        module(x).square().sum().backward()
    torch.testing.assert_close(layer(x), other(x))
    torch.testing.assert_close(layer.lora_a.grad, other.lora_A["default"].weight.grad)
    torch.testing.assert_close(layer.lora_b.grad, other.lora_B["default"].weight.grad)
