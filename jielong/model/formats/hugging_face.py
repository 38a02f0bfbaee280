"""Folders in the layout of Hugging Face: `config.json` and safetensors weights.

A model is made without memory first; each tensor is then read into the place it has in ours, so
that little more is ever held than the weights themselves. All is checked before a number is read.
"""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from jielong.core.errors import CheckpointError
from jielong.core.files import write_atomic
from jielong.model.config import ModelConfig
from jielong.model.formats.families import read_config, write_config
from jielong.model.formats.family import Family
from jielong.model.formats.places import Place, is_buffer, places
from jielong.model.formats.safetensors_files import (
    MAX_SHARD_BYTES,
    Stored,
    check_type,
    open_folder,
    read_into,
    spell,
    write_folder,
)
from jielong.model.formats.settings import CONFIG, Settings
from jielong.model.formats.skeleton import build
from jielong.model.transformer import Transformer

_READERS = 4


def is_hugging_face(folder: Path) -> bool:
    """Whether a folder is of this layout, as far as its names tell."""
    return (folder / CONFIG).is_file()


def read_model(folder: Path) -> Transformer:
    """The model of a folder, in float32 on the CPU.

    Raises `CheckpointError`, naming the file with the setting or the tensor at fault.
    """
    settings = Settings.load(folder)
    family, config = read_config(settings)
    stored = open_folder(folder)
    named = {name: tensor.shape for name, tensor in stored.items()}
    model = build(lambda: Transformer(config), vars(config), named, settings.where)
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    found = places(family, config, shapes, _query_gain(family, settings, config))
    pairs = _match(folder, family, config, stored, found)
    weights = {name: torch.empty(shape) for name, shape in shapes.items()}

    def read(pair: tuple[Stored, Place]) -> None:
        _read(*pair, weights[pair[1].name])

    # Half of the time the system makes room for the numbers: several threads may wait for that.
    with ThreadPoolExecutor(_READERS) as pool:
        for _ in pool.map(read, pairs):
            pass
    model.load_state_dict(weights, assign=True)
    return model.eval()


def write_model(
    folder: Path,
    model: Transformer,
    *,
    dtype: torch.dtype = torch.float32,
    max_shard_bytes: int = MAX_SHARD_BYTES,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write `config.json` and the weights into `folder`; `extra` settings go to the former.

    Raises `ConfigError`, before anything is written, for a shape that no family has.
    """
    family, settings = write_config(model.config)
    state = model.state_dict()
    found = places(family, model.config, {name: tensor.shape for name, tensor in state.items()})

    def tensor(name: str) -> Tensor:
        return found[name].take(state[found[name].name])

    shapes = {name: place.shape for name, place in found.items()}
    write_folder(folder, shapes, tensor, dtype, max_shard_bytes)
    settings |= {"dtype": str(dtype).removeprefix("torch."), **(extra or {})}
    write_atomic(folder / CONFIG, json.dumps(settings, indent=2) + "\n")


def _read(stored: Stored, place: Place, ours: Tensor) -> None:
    part = place.part(ours)
    if place.transposed:
        theirs = torch.empty(stored.shape)
        read_into(stored, theirs)
        part.copy_(theirs.T)
        return
    read_into(stored, part)
    if place.gain is not None:
        if place.gain != 1:
            # By way of theirs, so that the number is one that `take` and reading give back.
            part.add_(1).mul_(place.gain).sub_(1)
        part.add_(1)


def _query_gain(family: Family, settings: Settings, config: ModelConfig) -> float:
    """What makes our scores q k / sqrt(D) theirs, q k / sqrt(query_pre_attn_scalar)."""
    if not family.gain_from_one:
        return 1.0
    return (config.head_dim / settings.number("query_pre_attn_scalar", 256)) ** 0.5


def _match(
    folder: Path,
    family: Family,
    config: ModelConfig,
    found: Mapping[str, Stored],
    wanted: Mapping[str, Place],
) -> list[tuple[Stored, Place]]:
    """Each stored tensor with its place, in the order of the files; refuses all that do not fit."""
    pairs, seen, unplaced = [], set(), []
    for stored in found.values():
        # Models saved without their head leave out the first part of the names.
        name = stored.name if stored.name in wanted else family.prefix + stored.name
        if name in wanted:
            pairs.append((stored, wanted[name]))
            seen.add(name)
        elif not is_buffer(stored.name):
            unplaced.append(stored)
    for name in wanted:
        if name not in seen:
            raise CheckpointError(f"{folder}: holds no {name}: copy its weights anew")
    for stored, place in pairs:
        check_type(stored)
        if stored.shape != place.shape:
            raise CheckpointError(
                f"{stored.file}: {stored.name} is {spell(stored.shape)} and {CONFIG} asks for "
                f"{spell(place.shape)}: they do not belong together; copy both from one place"
            )
    for stored in unplaced:
        _refuse_unplaced(stored, family, config, pairs)
    return pairs


def _refuse_unplaced(
    stored: Stored, family: Family, config: ModelConfig, pairs: list[tuple[Stored, Place]]
) -> None:
    """What has no place is one weight too many, but for a head that is the embedding again."""
    if not (config.tied and f"{family.modules['head']}.weight" == stored.name):
        raise CheckpointError(
            f"{stored.file}: {stored.name} has no place in a {family.model_type} model of this "
            f"shape: give the {CONFIG} that belongs to the weights"
        )
    embedding = next(other for other, place in pairs if place.name == "embedding.weight")
    check_type(stored)
    if stored.shape == embedding.shape:
        head, rows = torch.empty(stored.shape), torch.empty(stored.shape)
        read_into(stored, head)
        read_into(embedding, rows)
        if torch.equal(head, rows):
            return
    raise CheckpointError(
        f"{stored.file}: {stored.name} differs from the embedding, and {CONFIG} says that they are "
        "tied: set tie_word_embeddings to false there"
    )
