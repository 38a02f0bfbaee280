"""Finished models on disk: `model.toml`, `model.safetensors` and `tokenizer.json` in one folder.

A finished run keeps its model in `RUN/model`. A folder in the layout of Hugging Face is a model as
well. The model and the tokenizer meet here for the first time; below this room they know each other
as integers only.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError
from safetensors.torch import load, save

from jielong.core import config as configs
from jielong.core.device import default_device
from jielong.core.errors import CheckpointError, RunDirectoryError
from jielong.core.files import sha256_file, write_atomic
from jielong.core.run_dir import MANIFEST, open_run
from jielong.generation.matching import matching_tokenizer
from jielong.model.config import ModelConfig
from jielong.model.formats.hugging_face import is_hugging_face, read_model
from jielong.model.formats.safetensors_files import refuse_pickled
from jielong.model.heads import ScalarModel
from jielong.model.transformer import Transformer
from jielong.tokenizer.bpe import Tokenizer

FOLDER = "model"
M = TypeVar("M", Transformer, ScalarModel)
SHAPE, WEIGHTS = "model.toml", "model.safetensors"


@dataclass
class Assistant:
    """What answers: a decoder, its tokenizer, and what to call it."""

    name: str
    model: Transformer
    tokenizer: Tokenizer

    @property
    def context(self) -> int:
        """How many tokens the model can see."""
        return self.model.config.context

    def describe(self) -> str:
        """One line for a person."""
        parameters = sum(p.numel() for p in self.model.parameters())
        return f"{self.name}: {parameters / 1e6:.1f}M parameters, context {self.context} tokens"


def save_model(run: Path, model: Transformer | ScalarModel, tokenizer: Tokenizer) -> dict[str, str]:
    """Write a run's finished model to `run/model`; returns its hash, for the run's manifest."""
    folder = run / FOLDER
    weights = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
    write_atomic(folder / WEIGHTS, save(weights))
    write_atomic(folder / SHAPE, configs.dumps(model.config))
    tokenizer.save(folder)
    return {"model_sha256": sha256_file(folder / WEIGHTS)}


def load_assistant(path: Path | str) -> Assistant:
    """Load what answers: a finished run, a quickstart directory, or a model folder, ours or not."""
    folder, name = find_model(Path(path))
    if is_hugging_face(folder):
        model = read_model(folder).to(default_device())
    else:
        model = _load_into(Transformer, folder)
    return Assistant(name, model.eval(), matching_tokenizer(folder, model.config))


def load_reward_model(path: Path | str) -> tuple[ScalarModel, Tokenizer]:
    """Load a finished reward model and the tokenizer it reads with."""
    folder, _ = find_model(Path(path))
    model = _load_into(ScalarModel, folder)
    return model.eval(), matching_tokenizer(folder, model.config)


def find_model(path: Path) -> tuple[Path, str]:
    """The model folder that `path` means, and a name for it.

    A quickstart directory means its last aligned stage. Raises `RunDirectoryError` for a path that
    holds no model, or a run that has not finished.
    """
    refuse_pickled(path)
    if not path.is_dir():
        raise RunDirectoryError(f"{path}: no such directory: give a run directory with a model")
    if (path / SHAPE).exists() or is_hugging_face(path):
        return path, path.resolve().name if path.name != FOLDER else path.resolve().parent.name
    if (path / FOLDER / SHAPE).exists():
        return path / FOLDER, path.resolve().name
    if not (path / MANIFEST).exists():
        raise RunDirectoryError(f"{path}: holds no model: give a run directory that has one")
    run = open_run(path)
    if "assistant" in run.manifest:
        return find_model(path / run.manifest["assistant"])
    raise RunDirectoryError(
        f"{path}: this {run.manifest.get('stage')} run "
        + ("makes no model" if run.finished else "has not finished: resume it with --resume first")
    )


def _load_into(kind: type[M], folder: Path) -> M:
    config = configs.load(ModelConfig, folder / SHAPE)
    model = kind(config)
    file = folder / WEIGHTS
    _verify(folder)
    try:
        model.load_state_dict(load(file.read_bytes()))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"{file}: cannot be loaded ({reason}): train or copy it anew"
        ) from None
    return model.to(default_device())


def _verify(folder: Path) -> None:
    """Refuse weights that are not those their run wrote."""
    manifest = folder.parent / MANIFEST
    if folder.name != FOLDER or not manifest.exists():
        return  # a model folder that was copied elsewhere carries no record
    expected = open_run(folder.parent).manifest.get("model_sha256")
    if expected and (folder / WEIGHTS).exists() and sha256_file(folder / WEIGHTS) != expected:
        raise CheckpointError(
            f"{folder / WEIGHTS}: cut short or altered (its SHA-256 is not the recorded one): copy "
            "it anew, or train it again"
        )
