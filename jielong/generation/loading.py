"""Finished models on disk: `model.toml`, `model.safetensors` and `tokenizer.json` in one folder.

Where adapters were trained (LoRA), the weights have them in, and `adapter.toml` and
`adapter.safetensors` beside them hold them apart.
A finished run keeps its model in `RUN/model`. A folder in the layout of Hugging Face is a model as
well. The model and the tokenizer meet here for the first time; below this room they know each other
as integers only.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from jielong.core import config as configs
from jielong.core.device import default_device
from jielong.core.errors import CheckpointError, ConfigError, RunDirectoryError
from jielong.core.files import sha256_file, write_atomic
from jielong.core.run_dir import MANIFEST, open_run
from jielong.generation.matching import matching_tokenizer
from jielong.model.config import ModelConfig, Objective
from jielong.model.encoder_decoder import EncoderDecoder
from jielong.model.formats.hugging_face import is_hugging_face, read_model
from jielong.model.formats.safetensors_files import refuse_pickled
from jielong.model.heads import ScalarModel
from jielong.model.lora import LoraConfig, adapters, merged_state
from jielong.model.task_model import TaskModel
from jielong.model.transformer import Transformer
from jielong.tokenizer.bpe import Tokenizer

FOLDER = "model"
M = TypeVar("M", bound=nn.Module)
SHAPE, WEIGHTS = "model.toml", "model.safetensors"
ADAPTER, ADAPTER_WEIGHTS = "adapter.toml", "adapter.safetensors"
_USES: dict[Objective, str] = {
    "causal": "a causal model, which continues texts: ask it with jielong generate",
    "masked": "a masked model, which fills gaps: ask it with jielong evaluate --fill",
    "prefix": "a prefix model, which continues texts: ask it with jielong generate",
    "encoder_decoder": "an encoder-decoder, which continues texts: ask it with jielong generate",
}


@dataclass(frozen=True)
class Trained:
    """A finished model of any objective, its tokenizer, and what to call it."""

    name: str
    model: Transformer | EncoderDecoder
    tokenizer: Tokenizer

    @property
    def context(self) -> int:
        """How many tokens the model can see."""
        return self.model.config.context

    def describe(self) -> str:
        """One line for a person."""
        parameters = sum(p.numel() for p in self.model.parameters())
        return f"{self.name}: {parameters / 1e6:.1f}M parameters, context {self.context} tokens"


@dataclass(frozen=True)
class Assistant(Trained):
    """What answers: a model that reads left to right."""

    model: Transformer


def make_model(config: ModelConfig) -> Transformer | EncoderDecoder:
    """A model with the weights it starts from."""
    is_pair = config.objective == "encoder_decoder"
    return EncoderDecoder(config) if is_pair else Transformer(config)


def save_model(
    run: Path,
    model: Transformer | EncoderDecoder | ScalarModel | TaskModel,
    tokenizer: Tokenizer,
) -> dict[str, str]:
    """Write a run's finished model to `run/model`; returns its hash, for the run's manifest."""
    folder = run / FOLDER
    weights = {name: tensor.cpu().contiguous() for name, tensor in merged_state(model).items()}
    write_atomic(folder / WEIGHTS, save(weights))
    _save_adapters(folder, model)
    write_atomic(folder / SHAPE, configs.dumps(model.config))
    tokenizer.save(folder)
    return {"model_sha256": sha256_file(folder / WEIGHTS)}


def _save_adapters(folder: Path, model: nn.Module) -> None:
    layers = adapters(model)
    if not layers:
        return
    both = {f"{name}.lora_a": layer.lora_a for name, layer in layers.items()}
    both |= {f"{name}.lora_b": layer.lora_b for name, layer in layers.items()}
    tensors = {name: tensor.detach().cpu() for name, tensor in both.items()}
    write_atomic(folder / ADAPTER_WEIGHTS, save(tensors))
    config = next(iter(layers.values())).config
    write_atomic(folder / ADAPTER, configs.dumps(config))


def load_adapter(folder: Path) -> tuple[LoraConfig, dict[str, Tensor]]:
    """The adapter beside the model in `folder`: its settings, and `NAME.lora_a` and `NAME.lora_b`.

    Raises `ConfigError` when the model was trained without.
    """
    if not (folder / ADAPTER).exists():
        raise ConfigError(f"{folder}: was trained without adapters: train it with a [lora] table")
    config = configs.load(LoraConfig, folder / ADAPTER)
    try:
        return config, load((folder / ADAPTER_WEIGHTS).read_bytes())
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{folder / ADAPTER_WEIGHTS}: cannot be loaded ({error}): train or copy it anew"
        ) from None


def load_assistant(path: Path | str) -> Assistant:
    """Load what answers: a finished run, a quickstart directory, or a model folder, ours or not."""
    trained = load_trained(path, "causal")
    assert isinstance(trained.model, Transformer)
    return Assistant(trained.name, trained.model, trained.tokenizer)


def load_trained(path: Path | str, *objectives: Objective) -> Trained:
    """Load the model of a finished run, a quickstart directory, or a model folder, ours or not.

    Raises `ConfigError` when it was trained to do something else than `objectives`.
    """
    folder, name = find_model(Path(path))
    if is_hugging_face(folder):
        model = read_model(folder).to(default_device())
    else:
        config = configs.load(ModelConfig, folder / SHAPE)
        _check_objective(config, objectives, path)
        model = _load_into(make_model(config), folder)
    _check_objective(model.config, objectives, path)
    return Trained(name, model.eval(), matching_tokenizer(folder, model.config))


def _check_objective(config: ModelConfig, wanted: Collection[Objective], path: Path | str) -> None:
    if config.objective not in wanted:
        raise ConfigError(f"{path}: {_USES[config.objective]}")


def load_reward_model(path: Path | str) -> tuple[ScalarModel, Tokenizer]:
    """Load a finished reward model and the tokenizer it reads with."""
    folder, _ = find_model(Path(path))
    model = _load_into(ScalarModel(configs.load(ModelConfig, folder / SHAPE)), folder)
    return model.eval(), matching_tokenizer(folder, model.config)


def load_task_model(path: Path | str, classes: int | None) -> tuple[TaskModel, Tokenizer]:
    """Load a finished model with a task head, and the tokenizer it reads with."""
    folder, _ = find_model(Path(path))
    model = _load_into(TaskModel(configs.load(ModelConfig, folder / SHAPE), classes), folder)
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


def _load_into(model: M, folder: Path) -> M:
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
