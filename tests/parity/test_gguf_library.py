"""What we read of a file is what the `gguf` library reads of it, for every packing."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFReader, dequantize

from jielong.model.formats.gguf_file import READABLE, open_gguf, read_into
from tests.gguf_files import write_by_library

pytestmark = pytest.mark.parity

KEYS = {
    "general.architecture": "llama",
    "a.text": "一心\n一意",
    "a.whole": 3_000_000_000,
    "a.number": 1e-6,
    "a.flag": True,
    "a.texts": ["", "a b", "\u0120"],
    "a.wholes": [-1, 0, 7],
    "a.numbers": [0.1, -2.5],
    "a.flags": [True, False],
}


def random_blocks(kind: str, rows: int, columns: int) -> np.ndarray:
    """All bits at random where they cannot spell NaN: the top bit of an exponent stays 0."""
    block, size = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    raw = np.random.default_rng(0).integers(0, 256, (rows, columns // block * size), np.uint8)
    return raw & 0xBF


def by_number(kind: str, array: np.ndarray) -> np.ndarray:
    types = {"F32": np.float32, "F16": np.float16}
    return array.view(types[kind]) if kind in types else array


@pytest.mark.parametrize("kind", READABLE)
def test_every_packing(kind: str, tmp_path: Path) -> None:
    """More rows than are unpacked at once."""
    path, shape = tmp_path / "m.gguf", (4500, 256)
    packed = random_blocks(kind, *shape)
    write_by_library(
        path, KEYS, {"first": (np.ones(3, np.float32), "F32"), "w": (by_number(kind, packed), kind)}
    )
    theirs = {tensor.name: tensor for tensor in GGUFReader(path).tensors}["w"]
    file = open_gguf(path)
    stored = file.tensors["w"]
    assert (stored.kind, stored.shape, stored.start) == (kind, shape, theirs.data_offset)
    assert stored.row_bytes * shape[0] == theirs.n_bytes
    ours = torch.empty(shape)
    read_into(file, stored, ours)
    expected = dequantize(theirs.data, theirs.tensor_type)
    assert np.array_equal(ours.numpy(), expected)
    assert math.isfinite(float(ours.std()))
    assert float(ours.std()) > 0


def test_every_kind_of_key(tmp_path: Path) -> None:
    write_by_library(tmp_path / "m.gguf", KEYS, {"w": (np.ones(3, np.float32), "F32")})
    reader, found = GGUFReader(tmp_path / "m.gguf"), open_gguf(tmp_path / "m.gguf").metadata
    assert found == KEYS
    for key, value in found.items():
        theirs = reader.fields[key].contents()
        assert theirs == pytest.approx(value) if isinstance(value, float) else list(found)
        if not isinstance(value, float | list):
            assert theirs == value
