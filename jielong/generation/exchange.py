"""Models and adapters in and out: other programs' become ours, and ours become theirs."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch

from jielong.core import config as configs
from jielong.core.errors import RunDirectoryError
from jielong.core.files import new_folder, write_atomic
from jielong.generation.loading import (
    GGUF,
    SHAPE,
    WEIGHTS,
    Assistant,
    find_model,
    load_adapter,
    load_assistant,
    read_shape,
)
from jielong.generation.matching import ENDS, GENERATION, ends_of
from jielong.model.formats import gguf_file
from jielong.model.formats.gguf import write_gguf
from jielong.model.formats.hugging_face import is_hugging_face, write_model
from jielong.model.formats.peft import is_adapter, merge_adapter, write_adapter
from jielong.model.formats.safetensors_files import MAX_SHARD_BYTES, write_tensors
from jielong.tokenizer.bpe import FILE
from jielong.tokenizer.gguf import from_keys, to_keys
from jielong.tokenizer.standard_files import CONFIG, TEMPLATE, to_text

Dtype = Literal["f32", "f16", "bf16"]
_DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
# What belongs to another maker's tokenizer: copied as it is, since nobody knows it better.
_THEIRS = (FILE, CONFIG, TEMPLATE, GENERATION)


def import_model(source: Path, out: Path, base: Path | None = None) -> Assistant:
    """Make a model folder of ours, at `out`, from a folder of Hugging Face's layout or a GGUF file.

    With a `base`, which is a model of any kind, `source` is a PEFT adapter of it: it is merged into
    its weights. Raises `RunDirectoryError` when `out` holds something, or the model is ours
    already.
    """
    if is_adapter(source) != (base is not None):
        raise RunDirectoryError(
            f"{source}: is no PEFT adapter: leave --base out"
            if base
            else f"{source}: is an adapter: say with --base which model it changes"
        )
    place, _ = find_model(base or source)
    if base is None and place.suffix != GGUF and not is_hugging_face(place):
        raise RunDirectoryError(f"{source}: is a model of ours already: use it as it is")
    with _new(out) as made:
        assistant = load_assistant(place)
        if base is not None:
            merge_adapter(assistant.model, source)
        weights = {name: tensor.cpu() for name, tensor in assistant.model.state_dict().items()}
        write_tensors(made / WEIGHTS, weights)
        write_atomic(made / SHAPE, configs.dumps(assistant.model.config))
        _write_tokenizer(place, assistant, made)
        _write_generation(made, _known_ids(assistant, "eos"))
    return assistant


def export_folder(
    model: Path, out: Path, *, dtype: Dtype = "f32", max_shard_bytes: int = MAX_SHARD_BYTES
) -> Assistant:
    """Write a model as a folder that `transformers`, vLLM and others load.

    Raises `ConfigError` when it has a shape that none of the families in `jielong.model.formats`
    has.
    """
    with _new(out) as made:
        assistant = load_assistant(model)
        place, _ = find_model(model)
        known = _known_ids(assistant, "bos", "eos", "pad")
        write_model(
            made,
            assistant.model,
            dtype=_DTYPES[dtype],
            max_shard_bytes=max_shard_bytes,
            extra=known,
        )
        _write_tokenizer(place, assistant, made)
        _write_generation(made, known)
    return assistant


def export_gguf(model: Path, out: Path, *, dtype: gguf_file.Dtype = "f32") -> Assistant:
    """Write a model and its tokenizer as one file for llama.cpp and what is built on it.

    Raises `RunDirectoryError` when the file is there already, `ConfigError` when llama.cpp has no
    architecture of the model's shape.
    """
    if out.exists():
        raise RunDirectoryError(f"{out}: holds something already: give a new file")
    assistant = load_assistant(model)
    place, _ = find_model(model)
    config = assistant.model.config
    with TemporaryDirectory() as folder:
        _write_tokenizer(place, assistant, Path(folder))
        content, settings = _read(Path(folder))
    keys = to_keys(content, settings, config.vocab_size, str(model))
    # What ends a text may be said beside the tokenizer's files, and these may say otherwise.
    keys |= {f"tokenizer.ggml.{key}": token for key, token in _known_ids(assistant, "eos").items()}
    write_gguf(out, config, assistant.model.state_dict(), keys, dtype=dtype)
    return assistant


def export_adapter(model: Path, out: Path, *, dtype: Dtype = "f32") -> None:
    """Write the adapter that a model was trained with as a folder that `peft` loads.

    It belongs on the model that the training began with. Raises `ConfigError` when there is none,
    or when no family has the model's shape.
    """
    folder, _ = find_model(model)
    config, tensors = load_adapter(folder)
    with _new(out) as made:
        write_adapter(made, read_shape(folder), config, tensors, _DTYPES[dtype])


@contextmanager
def _new(out: Path) -> Iterator[Path]:
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise RunDirectoryError(f"{out}: holds something already: give a new folder")
    with new_folder(out) as made:
        yield made


def _write_tokenizer(place: Path, assistant: Assistant, out: Path) -> None:
    """The tokenizer's files: ours as we write them, another maker's as they were."""
    if assistant.tokenizer.layout is None:
        assistant.tokenizer.save(out, adds_bos=True)
    elif place.suffix == GGUF:
        keys = gguf_file.open_gguf(place).metadata
        for name, content in zip((FILE, CONFIG), from_keys(keys, str(place)), strict=True):
            write_atomic(out / name, to_text(content))
    else:
        for name in _THEIRS:
            if (place / name).exists():
                shutil.copyfile(place / name, out / name)


def _known_ids(assistant: Assistant, *names: str) -> dict[str, int]:
    """Special tokens by the names that others have for their ids; not those that it has no row for.

    Those were added here, at the end, for what its makers do not have.
    """
    ids = assistant.tokenizer.special._asdict()
    size = assistant.model.config.vocab_size
    return {f"{name}_token_id": ids[name] for name in names if ids[name] < size}


def _write_generation(folder: Path, known: Mapping[str, int]) -> None:
    """How to generate, as its makers said it; `known` is added where they said nothing.

    What ends a text they may have said in the `config.json` instead.
    """
    file = folder / GENERATION
    said = json.loads(file.read_bytes()) if file.exists() else {}
    ends = {} if ends_of(said) else {key: i for key, i in known.items() if key == ENDS}
    missing = {key: i for key, i in known.items() if said.get(key) is None}
    if missing or ends:
        write_atomic(file, json.dumps(said | missing | ends, indent=2) + "\n")


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a tokenizer's files hold, its template put where `tokenizer_config.json` has it."""
    content = json.loads((folder / FILE).read_bytes())
    settings = json.loads((folder / CONFIG).read_bytes()) if (folder / CONFIG).exists() else {}
    if (folder / TEMPLATE).exists():
        settings["chat_template"] = (folder / TEMPLATE).read_text(encoding="utf-8")
    return content, settings
