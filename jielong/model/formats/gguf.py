"""Models in GGUF files, the format of llama.cpp: read and written.

In are the architectures and packings that `gguf_architectures` and `gguf_file` list; everything is
checked before the first number is read, so a file that cannot serve costs nothing. Weights become
float32, under our names. The tokenizer's keys pass through as they are: models know ids only.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from jielong.core.errors import CheckpointError
from jielong.model.config import ModelConfig
from jielong.model.formats.gguf_architectures import read_config, write_config
from jielong.model.formats.gguf_file import Dtype, GgufFile, open_gguf, read_into, write_file
from jielong.model.formats.gguf_rope import FACTORS, factors_of
from jielong.model.formats.gguf_tensors import Part, parts_of
from jielong.model.formats.skeleton import build
from jielong.model.transformer import Transformer

_TOKENS = "tokenizer.ggml.tokens"


class GgufModel(NamedTuple):
    """What a file holds: a model, and the keys of its tokenizer."""

    model: Transformer
    tokenizer: dict[str, Any]

    @property
    def config(self) -> ModelConfig:
        """The model's shape."""
        return self.model.config

    @property
    def weights(self) -> dict[str, Tensor]:
        """The model's tensors, under our names."""
        return self.model.state_dict()


def read_gguf(path: Path) -> GgufModel:
    """Read a model, of any packing that we know, as float32.

    Raises `CheckpointError`, naming the file and what in it, when it is damaged, holds what is not
    a model of one of our shapes, or lacks something.
    """
    file = open_gguf(path)
    architecture, config = read_config(file)
    tokenizer = {k: v for k, v in file.metadata.items() if k.startswith("tokenizer.")}
    tokens = tokenizer.get(_TOKENS)
    if tokens is not None and len(tokens) != config.vocab_size:
        raise file.error(
            f"its tokenizer has {len(tokens)} entries, and token_embd.weight {config.vocab_size}: "
            "they do not belong together; convert the model anew"
        )
    stored = {name: tensor.shape for name, tensor in file.tensors.items()}
    model = build(lambda: Transformer(config), vars(config), stored, str(path))
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    parts = parts_of(architecture, config, shapes, file.tensors)
    extra = {FACTORS} if "llama3" in architecture.scalings else set()
    _check_tensors(file, [part for made_of in parts.values() for part in made_of], extra)
    weights = {name: _read(file, made_of) for name, made_of in parts.items()}
    model.load_state_dict(weights, assign=True)
    return GgufModel(model.eval(), tokenizer)


def write_gguf(
    path: Path,
    config: ModelConfig,
    weights: Mapping[str, Tensor],
    tokenizer: Mapping[str, Any],
    *,
    dtype: Dtype = "f16",
) -> None:
    """Write a model for llama.cpp and all that is built on it; `tokenizer` are the keys of one.

    The file appears whole or not at all. Raises `ConfigError`, naming the setting, when llama.cpp
    has no architecture of the model's shape.
    """
    architecture, metadata = write_config(config)
    tokens = tokenizer[_TOKENS]
    if len(tokens) != config.vocab_size:
        raise CheckpointError(
            f"{path}: not written: the tokenizer has {len(tokens)} entries and the model "
            f"{config.vocab_size}: give those of one run"
        )
    with torch.device("meta"):
        shapes_of_ours = {name: w.shape for name, w in Transformer(config).state_dict().items()}
    parts = parts_of(architecture, config, shapes_of_ours)
    if weights.keys() != parts.keys():
        name = min(weights.keys() ^ parts.keys())
        state = "is missing" if name in parts else "has no place in this shape"
        raise CheckpointError(f"{path}: not written: {name} {state}")
    sources = {part.name: (ours, part) for ours, made_of in parts.items() for part in made_of}
    shapes = {name: part.shape for name, (_, part) in sources.items()}
    factors = factors_of(config.rope, config.head_dim)
    if factors is not None:
        shapes[FACTORS] = tuple(factors.shape)

    def tensor(name: str) -> Tensor:
        if name == FACTORS:
            assert factors is not None
            return factors
        ours, part = sources[name]
        return part.to_theirs(weights[ours])

    write_file(path, metadata | dict(tokenizer), shapes, tensor, dtype)


def _check_tensors(file: GgufFile, parts: list[Part], extra: set[str]) -> None:
    """Every tensor that the shape asks for is there and has its form, and no other is there."""
    for part in parts:
        stored = file.tensors.get(part.name)
        if stored is None:
            raise file.error(f"{part.name} is missing: convert the model anew")
        if stored.shape != part.shape:
            raise file.error(
                f"{part.name} has shape {list(stored.shape)}, and its keys say "
                f"{list(part.shape)}: convert the model anew"
            )
    unknown = file.tensors.keys() - {part.name for part in parts} - extra
    if unknown:
        raise file.error(
            f"{min(unknown)} has no place in this architecture"
            + (f", nor {len(unknown) - 1} more" if len(unknown) > 1 else "")
            + ": it is not one of the models that can be read"
        )


def _read(file: GgufFile, parts: list[Part]) -> Tensor:
    shape = (sum(part.shape[0] for part in parts), *parts[0].shape[1:])
    made = torch.empty(shape)
    for part in parts:
        rows = made[part.rows]
        read_into(file, file.tensors[part.name], rows)
        part.to_ours(rows)
    return made
