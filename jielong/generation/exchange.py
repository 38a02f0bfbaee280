"""Models and adapters in and out: other programs' folders become ours, and ours become theirs."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import save_file

from jielong.core import config as configs
from jielong.core.errors import RunDirectoryError
from jielong.core.files import new_folder, write_atomic
from jielong.generation.loading import (
    SHAPE,
    WEIGHTS,
    Assistant,
    find_model,
    load_adapter,
    load_assistant,
)
from jielong.generation.matching import GENERATION
from jielong.model.config import ModelConfig
from jielong.model.formats.hugging_face import is_hugging_face, write_model
from jielong.model.formats.peft import is_adapter, merge_adapter, write_adapter
from jielong.model.formats.safetensors_files import MAX_SHARD_BYTES
from jielong.tokenizer.bpe import FILE
from jielong.tokenizer.standard_files import CONFIG, TEMPLATE, to_text

Dtype = Literal["f32", "f16", "bf16"]
_DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
# What belongs to another maker's tokenizer: copied as it is, since nobody knows it better.
_THEIRS = (FILE, CONFIG, TEMPLATE, GENERATION)


def import_model(source: Path, out: Path, base: Path | None = None) -> Assistant:
    """Make a model folder of ours, at `out`, from a folder in the layout of Hugging Face.

    With a `base`, `source` is a PEFT adapter of it, which is merged into its weights.
    """
    if is_adapter(source) != (base is not None):
        raise RunDirectoryError(
            f"{source}: is no PEFT adapter: leave --base out"
            if base
            else f"{source}: is an adapter: say with --base which model it changes"
        )
    folder, _ = find_model(base or source)
    if base is None and not is_hugging_face(folder):
        raise RunDirectoryError(f"{source}: is a model of ours already: use it as it is")
    with _new(out) as made:
        assistant = load_assistant(folder)
        if base is not None:
            merge_adapter(assistant.model, source)
        weights = {name: tensor.cpu() for name, tensor in assistant.model.state_dict().items()}
        save_file(weights, made / WEIGHTS)
        write_atomic(made / SHAPE, configs.dumps(assistant.model.config))
        _copy_tokenizer(folder, made)
        if not (made / GENERATION).exists():
            write_atomic(
                made / GENERATION, to_text({"eos_token_id": assistant.tokenizer.special.eos})
            )
    return assistant


def export_folder(
    model: Path, out: Path, *, dtype: Dtype = "f32", max_shard_bytes: int = MAX_SHARD_BYTES
) -> Assistant:
    """Write a model as a folder that `transformers`, vLLM and others load.

    Raises `ConfigError` when it has a shape that none of the families in `jielong.model.formats`
    has.
    """
    folder, _ = find_model(model)
    with _new(out) as made:
        assistant = load_assistant(folder)
        special = assistant.tokenizer.special
        ids = {"bos_token_id": special.bos, "eos_token_id": special.eos}
        ids |= {"pad_token_id": special.pad}
        known = {key: i for key, i in ids.items() if i < assistant.model.config.vocab_size}
        write_model(
            made,
            assistant.model,
            dtype=_DTYPES[dtype],
            max_shard_bytes=max_shard_bytes,
            extra=known,
        )
        write_atomic(made / GENERATION, to_text(known))
        if assistant.tokenizer.layout is None:
            assistant.tokenizer.save(made, adds_bos=True)
        else:
            _copy_tokenizer(folder, made)  # and how to generate, if its makers said
    return assistant


def export_adapter(model: Path, out: Path, *, dtype: Dtype = "f32") -> None:
    """Write the adapter that a model was trained with as a folder that `peft` loads.

    It belongs on the model that the training began with. Raises `ConfigError` when there is none,
    or when no family has the model's shape.
    """
    folder, _ = find_model(model)
    config, tensors = load_adapter(folder)
    shape = configs.load(ModelConfig, folder / SHAPE)
    with _new(out) as made:
        write_adapter(made, shape, config, tensors, _DTYPES[dtype])


@contextmanager
def _new(out: Path) -> Iterator[Path]:
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise RunDirectoryError(f"{out}: holds something already: give a new folder")
    with new_folder(out) as made:
        yield made


def _copy_tokenizer(folder: Path, out: Path) -> None:
    for name in _THEIRS:
        if (folder / name).exists():
            shutil.copyfile(folder / name, out / name)
