"""GGUF as a container: keys with values, a table of tensors, then their numbers.

The `gguf` library packs and unpacks the numbers, and writes the files. Headers are read here: the
library's reader makes several arrays for each token of a vocabulary (for 150,000 tokens that is six
seconds and half a gigabyte), and believes every length that a damaged file states. Numbers are read
a piece at a time rather than mapped: a mapped file would count in memory beside what is made of it.
"""

import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO, Literal

import numpy as np
import torch
from torch import Tensor

from jielong.core.errors import CheckpointError
from jielong.core.files import atomic_writer

Dtype = Literal["f32", "f16", "q8_0"]
READABLE = (
    *("F32", "F16", "BF16"),
    *("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"),
    *("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"),
)
_MAGIC, _VERSIONS = b"GGUF", (2, 3)
_TEXT, _ARRAY, _BOOL = 8, 9, 7
_NUMBERS = {
    **{0: "u1", 1: "i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4"},
    **{_BOOL: "u1", 10: "<u8", 11: "<i8", 12: "<f8"},
}
_MOST_DIMENSIONS = 4
_FILE_TYPE = {"f32": 0, "f16": 1, "q8_0": 7}
_LARGEST = {  # a block of Q8_0 is whole numbers up to 127, times one float16
    "F32": float(np.finfo(np.float32).max),
    "F16": float(np.finfo(np.float16).max),
    "Q8_0": 127 * float(np.finfo(np.float16).max),
}
_CHUNK = 1 << 20  # numbers; unpacking makes several copies of what it is given


@dataclass(frozen=True)
class Stored:
    """One tensor: its shape as PyTorch has it, how its numbers are packed, where they begin."""

    name: str
    shape: tuple[int, ...]
    kind: str
    start: int
    row_bytes: int


@dataclass(frozen=True)
class GgufFile:
    """What a file's header says; no tensor has been read."""

    path: Path
    metadata: Mapping[str, Any]
    tensors: Mapping[str, Stored]

    def error(self, text: str) -> CheckpointError:
        """The error that names the file."""
        return CheckpointError(f"{self.path}: {text}")


def library(part: str) -> ModuleType:
    """A module of the `gguf` library, which takes a while to import."""
    return importlib.import_module(f"gguf.{part}")


def open_gguf(path: Path) -> GgufFile:
    """Read the header of a file, and check that all it lists is there.

    Raises `CheckpointError` when it is no GGUF file, cut, damaged, or of a kind that is not read.
    """
    try:
        with path.open("rb") as file:
            return _parse(_Header(file, path))
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error.strerror}): give a GGUF file"
        ) from None


def read_into(file: GgufFile, stored: Stored, target: Tensor) -> None:
    """Unpack a tensor into `target`, float32 numbers of its shape on the CPU.

    Raises `CheckpointError` where the file ends early, or a number is not finite.
    """
    assert target.dtype == torch.float32
    assert tuple(target.shape) == stored.shape
    kind = library("constants").GGMLQuantizationType[stored.kind]
    dequantize = library("quants").dequantize
    rows = target.view(-1, stored.shape[-1]).numpy()
    step = max(1, _CHUNK // rows.shape[1])
    with file.path.open("rb") as opened, np.errstate(all="ignore"):
        opened.seek(stored.start)
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            raw = np.fromfile(opened, np.uint8, len(part) * stored.row_bytes)
            if len(raw) < len(part) * stored.row_bytes:
                raise file.error(f"ends in the middle of {stored.name}: copy it anew")
            part[:] = dequantize(raw.reshape(len(part), -1), kind)
            if not np.isfinite(part).all():
                raise file.error(f"{stored.name} holds NaN or infinity: take the file anew")


def write_file(
    path: Path,
    metadata: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
    tensor: Callable[[str], Tensor],
    dtype: Dtype,
) -> None:
    """Write a file, whole or not at all; `tensor` gives one by its name, when its turn comes.

    Matrices are packed as `dtype`, or as float16 where their rows do not divide into its blocks;
    norms, biases and positions stay float32, as all programs have it.
    """
    constants, quants = library("constants"), library("quants")
    kinds = {name: _kind_for(name, shape, dtype) for name, shape in shapes.items()}
    with atomic_writer(path) as file:
        writer = library("gguf_writer").GGUFWriter(file.name, metadata["general.architecture"])
        try:
            _add_metadata(writer, constants, {**metadata, "general.file_type": _FILE_TYPE[dtype]})
            for name, shape in shapes.items():
                kind = constants.GGMLQuantizationType[kinds[name]]
                bytes_of_rows = quants.quant_shape_to_byte_shape(shape, kind)
                size = math.prod(bytes_of_rows)
                writer.add_tensor_info(name, bytes_of_rows, np.dtype(np.uint8), size, kind)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            for name in shapes:
                numbers = tensor(name).detach().cpu().float().contiguous().numpy()
                writer.write_tensor_data(_pack(path, name, numbers, kinds[name], quants))
        finally:
            writer.close()


def _kind_for(name: str, shape: tuple[int, ...], dtype: Dtype) -> str:
    if len(shape) < 2 or name == "position_embd.weight":
        return "F32"
    whole_blocks = shape[-1] % 32 == 0
    return dtype.upper() if whole_blocks or dtype != "q8_0" else "F16"


def _pack(path: Path, name: str, numbers: np.ndarray, kind: str, quants: ModuleType) -> np.ndarray:
    if not np.abs(numbers).max() <= _LARGEST[kind]:  # NaN is not below anything
        raise CheckpointError(
            f"{path}: not written: {name} holds NaN or a number too large for {kind}: export as "
            "f32, or an earlier checkpoint"
        )
    return quants.quantize(numbers, quants.GGMLQuantizationType[kind])


def _add_metadata(writer: Any, constants: ModuleType, metadata: Mapping[str, Any]) -> None:  # noqa: ANN401 - the library's writer
    types = constants.GGUFValueType
    for key, value in metadata.items():
        if key == "general.architecture":
            continue  # the writer has put it first
        if isinstance(value, list) and not value:
            continue
        kind = types.get_type(value)
        # Sizes and ids: every reader takes them for unsigned.
        writer.add_key_value(key, value, types.UINT32 if kind == types.INT32 else kind)


class _Header:
    """Reads on through a header, never past the end of the file."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self.file, self.path = file, path
        self.size = path.stat().st_size
        self.position = 0
        self.place = "its first bytes"  # what is being read, for messages

    def error(self, text: str) -> CheckpointError:
        return CheckpointError(f"{self.path}: {text}")

    def take(self, count: int) -> bytes:
        data = self.file.read(count) if count <= self.size - self.position else b""
        if len(data) < count:
            raise self.error(
                f"cut short or damaged: ends in the middle of {self.place}: copy it anew"
            )
        self.position += count
        return data

    def whole(self, size: int = 8) -> int:
        return int.from_bytes(self.take(size), "little")

    def text(self) -> str:
        try:
            return self.take(self.whole()).decode()
        except UnicodeDecodeError:
            raise self.error(f"damaged: {self.place} is no text: copy it anew") from None

    def numbers(self, kind: int, count: int) -> list[Any]:
        dtype = np.dtype(_NUMBERS[kind])
        found = np.frombuffer(self.take(count * dtype.itemsize), dtype)
        if kind == _BOOL:
            return (found != 0).tolist()
        if dtype == np.float32:  # 1e-6, not the float64 that is nearest to its float32
            return [float(str(number)) for number in found]
        return found.tolist()

    def value(self) -> Any:  # noqa: ANN401 - whatever the file holds
        kind = self.whole(4)
        if kind == _TEXT:
            return self.text()
        if kind in _NUMBERS:
            return self.numbers(kind, 1)[0]
        if kind == _ARRAY:
            kind, count = self.whole(4), self.whole()
            if kind == _TEXT:
                return [self.text() for _ in range(count)]
            if kind in _NUMBERS:
                return self.numbers(kind, count)
        raise self.error(f"damaged: {self.place} is of no known type ({kind}): copy it anew")


def _parse(header: _Header) -> GgufFile:
    _check_version(header)
    header.place = "the counts"
    tensor_count, key_count = header.whole(), header.whole()
    metadata: dict[str, Any] = {}
    for number in range(key_count):
        header.place = f"the key after {next(reversed(metadata))!r}" if number else "the first key"
        key = header.text()
        header.place = repr(key)
        if key in metadata:
            raise header.error(f"damaged: {key!r} is given twice: copy it anew")
        metadata[key] = header.value()
    parts = metadata.get("split.count", 0)
    if parts not in (0, 1):
        raise header.error(
            f"is one of {parts} parts: join them first (llama-gguf-split --merge FIRST OUT)"
        )
    entries = []
    for number in range(tensor_count):
        header.place = f"the table of tensors, after {number} of {tensor_count}"
        entries.append(_entry(header))
    alignment = metadata.get("general.alignment", 32)
    if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
        raise header.error(f"general.alignment: {alignment!r}: must be a power of two")
    begin = -(-header.position // alignment) * alignment
    tensors: dict[str, Stored] = {}
    for name, shape, kind, offset in entries:
        if name in tensors:
            raise header.error(f"damaged: {name} is given twice: copy it anew")
        tensors[name] = _place(header, name, shape, kind, begin + offset)
    return GgufFile(header.path, metadata, tensors)


def _check_version(header: _Header) -> None:
    magic = header.take(4) if header.size >= 4 else b""
    if magic != _MAGIC:
        shown = f"begins with {magic!r}" if magic else "is empty or nearly so"
        raise header.error(f"no GGUF file (it {shown}): give one that ends in .gguf")
    version = header.whole(4)
    if version & 0xFFFF == 0:
        raise header.error("is big-endian: only little-endian files are read; convert it anew")
    if version not in _VERSIONS:
        raise header.error(
            f"is of GGUF version {version}: only versions 2 and 3 are read; convert it anew"
        )


def _entry(header: _Header) -> tuple[str, tuple[int, ...], int, int]:
    """The name, shape, number of the packing, and offset of the next tensor."""
    name = header.text()
    header.place = f"the table of tensors, at {name!r}"
    dimensions = header.whole(4)
    if not 1 <= dimensions <= _MOST_DIMENSIONS:
        raise header.error(f"damaged: {name} has {dimensions} dimensions: copy it anew")
    shape = tuple(reversed([header.whole() for _ in range(dimensions)]))
    return name, shape, header.whole(4), header.whole()


def _place(header: _Header, name: str, shape: tuple[int, ...], kind: int, start: int) -> Stored:
    constants = library("constants")
    try:
        known = constants.GGMLQuantizationType(kind).name
    except ValueError:
        known = f"number {kind}"
    if known not in READABLE:
        raise header.error(
            f"{name} is packed as {known}: only {', '.join(READABLE)} are read; "
            "take or make a file in one of these"
        )
    block, block_bytes = constants.GGML_QUANT_SIZES[constants.GGMLQuantizationType(kind)]
    if not all(shape) or shape[-1] % block:
        raise header.error(
            f"damaged: {name} has shape {list(shape)}, which {known} cannot have: copy it anew"
        )
    row_bytes = shape[-1] // block * block_bytes
    end = start + math.prod(shape[:-1]) * row_bytes
    if end > header.size:
        raise header.error(f"cut short: {name} ends at byte {end} of {header.size}: copy it anew")
    return Stored(name, shape, known, start, row_bytes)
