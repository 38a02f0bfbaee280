"""Tensors held in parts by several processes, written by all of them and read by any number.

`torch.distributed.checkpoint` does both, in safetensors: each process writes the file of its parts,
which says where in each whole tensor they belong, and a reader takes out what overlaps its own.
"""

import json
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from jielong.core.errors import StorageError
from jielong.core.files import sha256_file
from jielong.core.processes import rank, world_size
from jielong.core.sharded import is_part


def write_shards(folder: Path, tensors: dict[str, Tensor]) -> dict[str, str]:
    """Write what each process holds; returns the files' names and hashes, of all processes.

    What all hold alike is the first one's to write. Raises `StorageError` in every process when the
    disk refuses a write to one.
    """
    from torch.distributed import checkpoint as dcp
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.default_planner import DefaultSavePlanner

    writer = dcp.HuggingFaceStorageWriter(str(folder), save_distributed=True)
    planner = DefaultSavePlanner(dedup_save_to_lowest_rank=True)
    try:
        # In the order of their names, for the file's header tells them in the order they come in.
        dcp.save(dict(sorted(tensors.items())), storage_writer=writer, planner=planner)
    except CheckpointException as error:
        shutil.rmtree(folder, ignore_errors=True)
        number, (reason, _) = next(iter(error.failures.items()))
        raise StorageError(
            f"{folder}: cannot be written by process {number} ({reason}): free some space or "
            "choose another place; a run that stopped here goes on with --resume"
        ) from None
    own = {}
    for path in folder.glob(f"shard-{rank() + 1:05d}-*"):
        _sort_header(path)
        own[path.name] = sha256_file(path)
    found: list[dict[str, str]] = [{}] * world_size()
    dist.all_gather_object(found, own)
    return {name: hash_ for files in found for name, hash_ in sorted(files.items())}


def _sort_header(path: Path) -> None:
    """Put a file's own remarks in order, which safetensors writes down in any: equal tensors are
    then equal bytes."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":")).encode()
        assert len(text) <= size, "the same in another order is as long"
        file.seek(8)
        file.write(text.ljust(size))
        file.flush()
        os.fsync(file.fileno())


def read_shards(folder: Path, like: Callable[[str], Tensor | None]) -> dict[str, Tensor]:
    """The tensors in all safetensors files of `folder`, whole ones and those in parts.

    A tensor comes in parts, one for each process, where `like(name)` is held so.
    """
    from torch.distributed import checkpoint as dcp

    reader = dcp.HuggingFaceStorageReader(str(folder))
    stored: dict[str, Any] = reader.read_metadata().state_dict_metadata
    rooms = {}
    for name, about in stored.items():
        other, dtype = like(name), about.properties.dtype
        if other is not None and is_part(other) and other.shape == about.size:
            rooms[name] = torch.empty_like(other, dtype=dtype, requires_grad=False)
        else:
            rooms[name] = torch.empty(about.size, dtype=dtype)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
        dcp.load(rooms, storage_reader=reader, no_dist=world_size() == 1)
    return rooms
