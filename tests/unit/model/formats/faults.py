"""A small whole folder, to be damaged in one way at a time."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from jielong.model.formats.hugging_face import write_model
from tests.tiny import decoder

WEIGHTS = "model.safetensors"


def folder_of(path: Path, max_shard_bytes: int = 10**9, **changes: object) -> Path:
    """A folder with a small model of ours."""
    write_model(path, decoder(**changes), max_shard_bytes=max_shard_bytes)
    return path


def set_config(folder: Path, **changes: object) -> None:
    file = folder / "config.json"
    values = json.loads(file.read_text(encoding="utf-8")) | changes
    file.write_text(json.dumps(values), encoding="utf-8")


def edit(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """Change the weights' dictionary in place and write it again."""
    weights = load_file(folder / WEIGHTS)
    change(weights)
    save_file(weights, folder / WEIGHTS)


def set_header_length(folder: Path, length: int) -> None:
    file = folder / WEIGHTS
    file.write_bytes(struct.pack("<Q", length) + file.read_bytes()[8:])
