"""Tensors held in parts by several processes, written by all of them and read by any number.

`torch.distributed.checkpoint` does both, in safetensors: each process writes the file of its parts,
which says where in each whole tensor they belong, and a reader takes out what overlaps its own.
"""

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
        dcp.save(tensors, storage_writer=writer, planner=planner)
    except CheckpointException as error:
        number, (reason, _) = next(iter(error.failures.items()))
        raise StorageError(
            f"{folder}: cannot be written by process {number} ({reason}): free some space or "
            "choose another place; a run that stopped here goes on with --resume"
        ) from None
    own = {path.name: sha256_file(path) for path in folder.glob(f"shard-{rank() + 1:05d}-*")}
    found: list[dict[str, str]] = [{}] * world_size()
    dist.all_gather_object(found, own)
    return {name: hash_ for files in found for name, hash_ in sorted(files.items())}


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
