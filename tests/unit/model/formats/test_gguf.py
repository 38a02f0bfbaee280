"""Models in GGUF files: what is written comes back; what cannot serve is refused in one line."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGUFReader

from jielong.core.errors import CheckpointError, ConfigError, JielongError
from jielong.model.config import RopeConfig
from jielong.model.formats.gguf import read_gguf, write_gguf
from jielong.model.positions import frequencies_of
from jielong.model.transformer import Transformer
from tests.gguf_files import SCALINGS, SHAPES, model_of, plain_vocabulary, write_by_library
from tests.tiny import decoder

ROTARY = {"llama": SHAPES["llama"], "qwen3": SHAPES["qwen3"]}


def save(model: Transformer, path: Path, dtype: Any = "f32", **keys: Any) -> Path:
    vocabulary = plain_vocabulary(model.config.vocab_size) | keys
    write_gguf(path, model.config, model.state_dict(), vocabulary, dtype=dtype)
    return path


def same_weights(found: dict[str, torch.Tensor], model: Transformer) -> bool:
    state = model.state_dict()
    return found.keys() == state.keys() and all(torch.equal(found[n], w) for n, w in state.items())


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_written_comes_back_bit_for_bit(shape: str, tmp_path: Path) -> None:
    model = model_of(shape)
    found = read_gguf(save(model, tmp_path / "m.gguf"))
    assert found.config == model.config
    assert same_weights(found.weights, model)
    assert found.tokenizer == plain_vocabulary()
    assert [file.name for file in tmp_path.iterdir()] == ["m.gguf"]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_architecture_is_the_one_that_has_the_shape(shape: str, tmp_path: Path) -> None:
    reader = GGUFReader(save(model_of(shape), tmp_path / "m.gguf"))
    assert reader.fields["general.architecture"].contents() == shape.split()[0]


@pytest.mark.parametrize(
    ("shape", "scaling"),
    [(s, r) for s in ROTARY for r in SCALINGS if s == "llama" or "llama3" not in r],
)
def test_stretched_positions_come_back(shape: str, scaling: str, tmp_path: Path) -> None:
    model = decoder(**ROTARY[shape] | {"rope": SCALINGS[scaling]})
    assert read_gguf(save(model, tmp_path / "m.gguf")).config == model.config


def test_published_factors_of_llama3_are_recognised(tmp_path: Path) -> None:
    """Llama 3.2's: by pencil, pairs 0 to 28 of 64 are kept, and 35 to 63 are 32 times slower."""
    rope = RopeConfig(base=500_000.0, scaling="llama3", factor=32.0, original_context=8192)
    model = decoder(**SHAPES["llama"] | {"rope": rope, "head_size": 128})
    path = save(model, tmp_path / "m.gguf")
    stored = {tensor.name: tensor.data for tensor in GGUFReader(path).tensors}["rope_freqs.weight"]
    turns = 8192 / (2 * np.pi) * 500_000.0 ** (-np.arange(64) / 64)
    assert [int(i) for i in np.flatnonzero(stored == 1)] == [i for i in range(64) if turns[i] > 4]
    assert [int(i) for i in np.flatnonzero(stored == 32)] == [i for i in range(64) if turns[i] < 1]
    assert read_gguf(path).config == model.config


@pytest.mark.parametrize(
    ("factor", "low", "high"), [(5.0, 0.9, 3.3), (5.0, 2.0, 2.1), (5.0, 2.0, 3.5), (5.0, 0.1, 0.2)]
)
def test_unpublished_factors_turn_pairs_as_they_did(
    factor: float, low: float, high: float, tmp_path: Path
) -> None:
    """The slowest pairs make 1.45, 2.58 and 4.58 turns: two between, none, one, none slowed."""
    rope = RopeConfig(
        base=100.0,
        scaling="llama3",
        factor=factor,
        original_context=512,
        low_frequency_factor=low,
        high_frequency_factor=high,
    )
    found = read_gguf(save(decoder(**SHAPES["llama"] | {"rope": rope}), tmp_path / "m.gguf"))
    expected, _ = frequencies_of(rope, 16)
    torch.testing.assert_close(
        frequencies_of(found.config.rope, 16)[0], expected, rtol=2e-5, atol=0
    )
    assert (found.config.rope.scaling == "none") == (high < 1)


def test_half_precision_rounds_each_number_once(tmp_path: Path) -> None:
    model = model_of("qwen3")
    found = read_gguf(save(model, tmp_path / "m.gguf", "f16")).weights
    for name, weight in model.state_dict().items():
        expected = weight.half().float() if weight.ndim == 2 else weight
        assert torch.equal(found[name], expected), name


def test_eight_bits_are_off_by_half_a_step_at_most(tmp_path: Path) -> None:
    """Each 32 numbers share a step, which is their largest over 127, in float16."""
    model = model_of("qwen3")
    found = read_gguf(save(model, tmp_path / "m.gguf", "q8_0")).weights
    for name, weight in model.state_dict().items():
        if weight.ndim == 1:
            assert torch.equal(found[name], weight)
            continue
        blocks, error = weight.reshape(-1, 32), (found[name] - weight).reshape(-1, 32)
        step = blocks.abs().amax(dim=1, keepdim=True) / 127
        assert (error.abs() <= step * (0.5 + 127 * 2**-11)).all(), name
        assert error.abs().max() > 0


def test_rows_that_are_no_whole_blocks_stay_half_precision(tmp_path: Path) -> None:
    model = decoder(**SHAPES["llama"] | {"ffn_width": 40})
    kinds = {
        t.name: t.tensor_type.name for t in GGUFReader(save(model, tmp_path / "m", "q8_0")).tensors
    }
    assert kinds["blk.0.ffn_down.weight"] == "F16"
    assert kinds["blk.0.ffn_up.weight"] == "Q8_0"
    assert kinds["blk.0.ffn_norm.weight"] == "F32"


def test_the_largest_gemma_divides_its_scores_otherwise(tmp_path: Path) -> None:
    """With 62 layers by sqrt(width / heads) = 4: our sqrt(32) asks for a gain of sqrt(2)."""
    model = decoder(**SHAPES["gemma3"] | {"n_layer": 62, "width": 64, "ffn_width": 32})
    path = save(model, tmp_path / "m.gguf")
    stored = {tensor.name: tensor.data for tensor in GGUFReader(path).tensors}
    ours = model.state_dict()["blocks.3.attention.query_norm.weight"]
    np.testing.assert_allclose(stored["blk.3.attn_q_norm.weight"], ours / 2**0.5, rtol=1e-6)
    again = read_gguf(path).weights["blocks.3.attention.query_norm.weight"]
    torch.testing.assert_close(again, ours, rtol=1e-6, atol=0)


def test_one_matrix_may_hold_queries_keys_and_values(tmp_path: Path) -> None:
    """As some converters write them, in any architecture."""
    model = model_of("llama with biases")
    keys, tensors = taken_apart(save(model, tmp_path / "apart.gguf"))
    for layer in range(3):
        for suffix in ("weight", "bias"):
            names = [f"blk.{layer}.attn_{part}.{suffix}" for part in "qkv"]
            whole = np.concatenate([tensors.pop(name)[0] for name in names])
            tensors[f"blk.{layer}.attn_qkv.{suffix}"] = (whole, "F32")
    write_by_library(tmp_path / "m.gguf", keys, tensors)
    assert same_weights(read_gguf(tmp_path / "m.gguf").weights, model)


# What can be wrong with a file: each changes one that is right, as (keys, tensors).
Keys, Tensors = dict[str, Any], dict[str, tuple[np.ndarray, str]]


def taken_apart(path: Path) -> tuple[Keys, Tensors]:
    reader = GGUFReader(path)
    keys = {k: f.contents() for k, f in reader.fields.items() if not k.startswith("GGUF.")}
    tensors = {t.name: (np.array(t.data), t.tensor_type.name) for t in reader.tensors}
    return keys, tensors


def drop(name: str) -> Callable[[Keys, Tensors], object]:
    return lambda keys, tensors: (keys if name in keys else tensors).pop(name)


def give(**values: Any) -> Callable[[Keys, Tensors], object]:
    return lambda keys, _: keys.update({k.replace("__", "."): v for k, v in values.items()})


def numbers(name: str, *shape: int, value: float = 0.5) -> Callable[[Keys, Tensors], object]:
    array = np.full(shape, value, np.float32)
    return lambda _, tensors: tensors.update({name: (array, "F32")})


FAULTS = {
    "architecture": (give(general__architecture="mamba"), "general.architecture: 'mamba': only ge"),
    "no size": (drop("llama.block_count"), r"llama\.block_count is missing"),
    "size of no sense": (give(llama__block_count=0), r"llama\.block_count: 0: expected"),
    "layers that differ": (
        give(llama__attention__head_count_kv=[2, 2, 1]),
        r"llama\.attention\.head_count_kv: \[2, 2, 1\]: expected one whole number",
    ),
    "no shape": (give(llama__attention__head_count_kv=3), "n_kv_head: 3: must divide n_head 4"),
    "experts": (give(llama__expert_count=8), r"llama\.expert_count: 8: asks for a part"),
    "part of each head": (
        give(llama__rope__dimension_count=8),
        r"rope\.dimension_count: 8: only 16",
    ),
    "unknown scaling": (
        give(llama__rope__scaling__type="longrope"),
        'scaling.type: "longrope": only',
    ),
    "window": (give(llama__attention__sliding_window=8), r"sliding_window: 8: this architecture"),
    "factors of no rule": (numbers("rope_freqs.weight", 8, value=3.0), "does not follow Llama 3's"),
    "factors of another size": (numbers("rope_freqs.weight", 7), r"has shape \[7\], not \[8\]"),
    "missing": (drop("blk.1.ffn_up.weight"), r"blk\.1\.ffn_up\.weight is missing"),
    "no embedding": (drop("token_embd.weight"), r"token_embd\.weight, a matrix, is missing"),
    "extra": (numbers("blk.0.attn_rot.weight", 4), r"blk\.0\.attn_rot\.weight has no place"),
    "shape": (
        numbers("blk.1.ffn_up.weight", 95, 64),
        r"blk\.1\.ffn_up\.weight has shape \[95, 64\], and its keys say \[96, 64\]",
    ),
    "NaN": (
        numbers("blk.2.ffn_down.weight", 64, 96, value=np.nan),
        r"blk\.2\.ffn_down\.weight holds NaN or infinity",
    ),
    "infinity": (numbers("output_norm.weight", 64, value=np.inf), r"output_norm\.weight holds NaN"),
    "vocabulary": (
        give(tokenizer__ggml__tokens=["a", "b"]),
        r"its tokenizer has 2 entries, and token_embd\.weight 300",
    ),
    "stated vocabulary": (
        give(llama__vocab_size=301),
        r"vocab_size: 301: token_embd\.weight has 300",
    ),
    "layers": (
        give(llama__block_count=300_000),
        r"n_layer: 300000: the weights are of 3 layers: convert the model anew",
    ),
    "width": (give(llama__embedding_length=4096), r"width: 4096: no tensor of the weights is as"),
    "inner width": (give(llama__feed_forward_length=2**31), r"feed_forward_length: 2147483648: "),
    "one of many": (give(split__count=3), "is one of 3 parts: join them"),
    "alignment": (give(general__alignment=24), "general.alignment: 24: must be a power of two"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_with_its_file(fault: str, tmp_path: Path) -> None:
    keys, tensors = taken_apart(save(model_of("llama"), tmp_path / "right.gguf"))
    break_it, message = FAULTS[fault]
    break_it(keys, tensors)
    path = tmp_path / "wrong.gguf"
    write_by_library(path, keys, tensors)
    with pytest.raises(CheckpointError, match=message) as raised:
        read_gguf(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", ["IQ4_NL", "I32"])
def test_an_unknown_packing_is_refused(kind: str, tmp_path: Path) -> None:
    keys, tensors = taken_apart(save(model_of("llama"), tmp_path / "right.gguf"))
    packed = {"IQ4_NL": np.zeros((96, 36), np.uint8), "I32": np.zeros((96, 64), np.int32)}
    tensors["blk.1.ffn_up.weight"] = (packed[kind], kind)
    write_by_library(tmp_path / "m.gguf", keys, tensors)
    with pytest.raises(
        CheckpointError, match=rf"blk\.1\.ffn_up\.weight is packed as {kind}: only F32"
    ):
        read_gguf(tmp_path / "m.gguf")


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"", "no GGUF file (it is empty or nearly so)"),
        (b"PK\x03\x04" + bytes(40), r"no GGUF file (it begins with b'PK\x03\x04')"),
        (b"GGUF\x01\0\0\0" + bytes(40), "is of GGUF version 1: only versions 2 and 3"),
        (b"GGUF\0\0\0\x03" + bytes(40), "is big-endian: only little-endian"),
    ],
)
def test_what_is_no_such_file_is_refused(start: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(start)
    with pytest.raises(CheckpointError, match=re.escape(message)):
        read_gguf(path)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("blk.1.ffn_up.weight", "blk.2.ffn_up.weight"),
        ("llama.rope.freq_base", "llama.vocab_size...."),
    ],
)
def test_what_is_given_twice_is_refused(name: str, other: str, tmp_path: Path) -> None:
    keys, tensors = taken_apart(save(model_of("llama"), tmp_path / "right.gguf"))
    path = tmp_path / "m.gguf"
    write_by_library(path, keys | {"llama.vocab_size....": 0}, tensors)
    path.write_bytes(path.read_bytes().replace(other.encode(), name.encode()))
    with pytest.raises(CheckpointError, match=rf"damaged: '?{re.escape(name)}'? is given twice"):
        read_gguf(path)


@pytest.mark.parametrize("name", ["absent.gguf", "."])
def test_what_is_no_file_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_gguf(tmp_path / name)


def small_file(path: Path) -> bytes:
    model = decoder(vocab_size=8, n_layer=1, width=8, n_head=2, n_kv_head=1, ffn_width=8)
    return save(model, path).read_bytes()


def test_a_file_that_was_cut_is_refused_wherever_it_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    data = small_file(path)
    for length in range(len(data)):
        if length % 7 == 0 or length > len(data) - 40:
            path.write_bytes(data[:length])
            # The last tensor is followed by zeros up to a round number of bytes: no loss.
            if data[length:].strip(b"\0"):
                with pytest.raises(CheckpointError, match=r"^\S+m\.gguf: "):
                    read_gguf(path)


def test_no_altered_byte_leads_to_anything_but_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    data = bytearray(small_file(path))
    random = np.random.default_rng(0)
    messages = []
    for _ in range(300):
        altered = data.copy()
        altered[random.integers(len(data) - 1200)] = random.integers(256)
        path.write_bytes(altered)
        try:
            read_gguf(path)
        except JielongError as error:
            messages.append(str(error))
    assert len(messages) > 150
    assert not any("\n" in message for message in messages)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ffn": "relu2"}, 'ffn: "relu2": llama.cpp has no'),
        ({"segments": 2}, "segments: 2: "),
        ({"bidirectional": True}, "bidirectional: true: "),
        ({"embedding_norm": True}, "embedding_norm: true: "),
        ({"positions": "sinusoidal"}, 'positions: "sinusoidal": '),
        ({"attention": "dense strided:8"}, 'attention: "dense strided:8": '),
        ({"attention": "sliding:8"}, 'attention: "sliding:8": '),
        ({"rope": SCALINGS["llama3"]}, "rope.scaling: llama3: "),
        (
            {"rope": dataclasses.replace(SCALINGS["yarn"], beta_fast=16.0)},
            "rope.beta_fast, rope.beta_slow: 16.0, 1.0: ",
        ),
    ],
)
def test_a_shape_that_llama_cpp_lacks_is_refused(
    changes: dict, message: str, tmp_path: Path
) -> None:
    model = decoder(**SHAPES["qwen3"] | changes)
    with pytest.raises(ConfigError, match=re.escape(message)):
        save(model, tmp_path / "m.gguf")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(("value", "dtype"), [(float("nan"), "f32"), (1e5, "f16"), (1e8, "q8_0")])
def test_numbers_that_cannot_be_written_leave_no_file(
    value: float, dtype: Any, tmp_path: Path
) -> None:
    model = decoder(**SHAPES["llama"])
    with torch.no_grad():
        model.blocks[1].feed_forward.down.weight[3, 4] = value
    with pytest.raises(
        CheckpointError, match=r"not written: blk\.1\.ffn_down\.weight holds NaN or a"
    ):
        save(model, tmp_path / "m.gguf", dtype)
    assert not [*tmp_path.iterdir()]


def test_weights_and_vocabulary_have_to_fit_the_shape(tmp_path: Path) -> None:
    model, path = decoder(**SHAPES["llama"]), tmp_path / "m.gguf"
    weights = model.state_dict()
    with pytest.raises(CheckpointError, match="the tokenizer has 299 entries and the model 300"):
        write_gguf(path, model.config, weights, plain_vocabulary(299))
    del weights["norm.weight"]
    with pytest.raises(CheckpointError, match=r"norm\.weight is missing"):
        write_gguf(path, model.config, weights, plain_vocabulary())
    assert not [*tmp_path.iterdir()]


def test_values_that_ask_for_nothing_are_passed_over(tmp_path: Path) -> None:
    keys, tensors = taken_apart(save(model_of("llama"), tmp_path / "right.gguf"))
    keys |= {
        "llama.expert_count": 0,
        "llama.attention.causal": True,
        "llama.rope.scale_linear": 1.0,
    }
    keys |= {"llama.attention.sliding_window": 4096, "llama.attention.head_count_kv": [2, 2, 2]}
    write_by_library(tmp_path / "m.gguf", keys, tensors)
    assert read_gguf(tmp_path / "m.gguf").config == model_of("llama").config
