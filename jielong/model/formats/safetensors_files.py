"""Weights in safetensors files: one file, or several with an index.

The `safetensors` library checks each header and writes the files. Numbers are read straight to
where they belong: a copy in between, or a mapped file beside it, would double the peak memory.
Pickled weights are never opened: to open one is to run whatever program it holds.
"""

import json
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from jielong.core.errors import CheckpointError
from jielong.core.files import write_atomic

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
MAX_SHARD_BYTES = 5_000_000_000
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_TYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_CHUNK = 1 << 18  # numbers: few enough to be still in the cache when they are looked at again


@dataclass(frozen=True)
class Stored:
    """One tensor of a file: `start` is where its bytes begin."""

    file: Path
    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int


def open_folder(folder: Path) -> dict[str, Stored]:
    """Every tensor of a folder, by name, in the order of the files; no weight is read yet.

    Raises `CheckpointError` where there is no safetensors file, or one is damaged.
    """
    if (folder / WEIGHTS).exists():
        return open_file(folder / WEIGHTS)
    if not (folder / INDEX).exists():
        refuse_pickled(folder)
        raise CheckpointError(f"{folder}: holds no weights: {WEIGHTS} is missing")
    listed = _weight_map(folder / INDEX)
    found: dict[str, Stored] = {}
    for name in sorted(set(listed.values())):
        if not (folder / name).exists():
            raise CheckpointError(f"{folder / name}: is missing, and {INDEX} names it: copy it too")
        header = open_file(folder / name)
        twice = found.keys() & header.keys()
        if twice:
            raise CheckpointError(
                f"{folder / name}: {min(twice)} is in {found[min(twice)].file.name} as well: "
                "copy the folder anew"
            )
        found |= header
    for tensor, name in listed.items():
        if tensor not in found or found[tensor].file.name != name:
            raise CheckpointError(
                f"{folder / name}: {tensor} is missing, and {INDEX} names it: copy the file anew"
            )
    return found


def open_file(file: Path) -> dict[str, Stored]:
    """Every tensor of a file, by name, in its order; no weight is read yet.

    Raises `CheckpointError` where it is missing or damaged: what the library accepts as a header is
    one, and the places, which it does not tell, are read after it.
    """
    if not file.exists():
        raise CheckpointError(f"{file}: is missing: copy it too")
    try:
        with safe_open(file, framework="pt"):
            pass
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            header = json.loads(opened.read(length))
    except (OSError, SafetensorError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"{file}: no whole safetensors file ({reason}): copy it anew"
        ) from None
    header.pop("__metadata__", None)
    found = [
        Stored(file, name, entry["dtype"], tuple(entry["shape"]), 8 + length + start)
        for name, entry in header.items()
        for start, _ in [entry["data_offsets"]]
    ]
    return {stored.name: stored for stored in sorted(found, key=lambda stored: stored.start)}


def spell(shape: Sequence[int]) -> str:
    """A shape for a person: 3 x 4."""
    return " x ".join(map(str, shape)) or "one number"


def refuse_pickled(path: Path) -> None:
    """Raise `CheckpointError` for pickled weights, with the command that converts them."""
    files = [path] if path.suffix in PICKLED else []
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in PICKLED)
        weights = [file for file in files if "model" in file.name or "consolidated" in file.name]
        files = weights or files
    if not files:
        return
    folder = path if path.is_dir() else path.parent
    program = (
        "import torch, safetensors.torch as s; "
        f"s.save_file({{k: v.clone().contiguous() for f in {[str(file) for file in files]} "
        "for k, v in torch.load(f, map_location='cpu', weights_only=True).items()}, "
        f"{str(folder / WEIGHTS)!r})"
    )
    raise CheckpointError(
        f"{files[0]}: is pickled, which can run any program when it is opened: convert it with "
        f"python -c {shlex.quote(program)}"
    )


def check_type(stored: Stored) -> None:
    """Refuse numbers that are no plain weights."""
    if stored.dtype not in _TYPES:
        raise CheckpointError(
            f"{stored.file}: {stored.name} is stored as {stored.dtype}: only "
            f"{', '.join(_TYPES)} are read; give weights that are not quantised"
        )


def read_into(stored: Stored, target: Tensor) -> None:
    """Read a tensor into `target`, float32 numbers that lie in one piece on the CPU.

    Raises `CheckpointError` when the file is cut, or a number is not finite.
    """
    assert target.dtype == torch.float32
    assert target.numel() == math.prod(stored.shape)
    kind = _TYPES[stored.dtype]
    scratch = None if kind == torch.float32 else torch.empty(_CHUNK, dtype=kind)
    with stored.file.open("rb", buffering=0) as file:
        file.seek(stored.start)
        for part in target.view(-1).split(_CHUNK):
            raw = part if scratch is None else scratch[: len(part)]
            if not _fill(file.readinto, raw):
                raise CheckpointError(
                    f"{stored.file}: ends in the middle of {stored.name}: copy it anew"
                )
            if scratch is not None:
                part.copy_(raw)
            # A sum is NaN or infinite when a number is, and the cheapest thing that is.
            if not part.sum().isfinite() and not part.isfinite().all():
                raise CheckpointError(
                    f"{stored.file}: {stored.name} holds NaN or infinity: take it from the source "
                    "again, or from an earlier checkpoint"
                )


def write_tensors(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write one file, whose reader may be another user: the library gives it to its owner alone."""
    save_file(dict(tensors), file, metadata={"format": "pt"})
    file.chmod(0o644)


def write_folder(
    folder: Path,
    shapes: Mapping[str, Sequence[int]],
    tensor: Callable[[str], Tensor],
    dtype: torch.dtype,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> None:
    """Write the tensors that `shapes` names, in files of at most `max_shard_bytes` each.

    `tensor` gives one by its name. A tensor that is larger than a file may be has its own file.
    """
    shards: list[list[str]] = [[]]
    sizes = {name: math.prod(shape) * dtype.itemsize for name, shape in shapes.items()}
    filled = 0
    for name, size in sizes.items():
        if shards[-1] and filled + size > max_shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size
    weight_map = {}
    for number, names in enumerate(shards, 1):
        file = WEIGHTS
        if len(shards) > 1:
            file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        # Tensors of one of ours share its memory, each a part: `safetensors` writes them as such.
        tensors = {name: tensor(name).detach().cpu().to(dtype).contiguous() for name in names}
        write_tensors(folder / file, tensors)
        weight_map |= dict.fromkeys(names, file)
    if len(shards) > 1:
        index = {"metadata": {"total_size": sum(sizes.values())}, "weight_map": weight_map}
        write_atomic(folder / INDEX, json.dumps(index, indent=2) + "\n")


def _weight_map(index: Path) -> dict[str, str]:
    try:
        listed = json.loads(index.read_bytes())["weight_map"]
        fits = all(isinstance(name, str) and Path(name).name == name for name in listed.values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index}: no index of weights ({error!r}): copy it anew") from None
    if not fits:
        raise CheckpointError(f"{index}: names files elsewhere: give a folder that holds its own")
    return listed


def _fill(readinto: Callable[[memoryview], int | None], raw: Tensor) -> bool:
    """Read as many bytes as `raw` has; False when there are fewer."""
    left = raw.view(torch.uint8).numpy().data
    while left:
        count = readinto(left)
        if not count:
            return False
        left = left[count:]
    return True
