"""Finished models on disk: `model.toml`, `model.safetensors` and `tokenizer.json` in one folder.

A finished run keeps its model in `RUN/model`. Where adapters were trained (LoRA), the weights have
them in, and `adapter.toml` and `adapter.safetensors` beside them hold them apart. What came before
the transformer lies there too: `recurrent.toml` or `seq2seq.toml` with weights, or the counts in
`ngram.npz`. A folder in the layout of Hugging Face and a GGUF file are models as well. The model
and the tokenizer meet here for the first time; below this room they know each other as integers
only.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch
from safetensors.torch import save
from torch import Tensor, nn

from jielong.baselines import rules
from jielong.baselines.ngram import NgramModel
from jielong.baselines.recurrent import Recurrent, RecurrentConfig
from jielong.baselines.rules import RuleTable
from jielong.baselines.seq2seq import Seq2Seq, Seq2SeqConfig
from jielong.core import config as configs
from jielong.core.device import default_device
from jielong.core.errors import CheckpointError, ConfigError, RunDirectoryError
from jielong.core.files import sha256_file, write_atomic
from jielong.core.processes import first_ahead, is_first
from jielong.core.run_dir import MANIFEST, open_run
from jielong.core.sharded import whole
from jielong.generation.matching import matched, matching_tokenizer
from jielong.generation.readers import (
    NO_LIMIT,
    NgramSpeaker,
    RuleSpeaker,
    Speaker,
    context_of,
    size_of,
)
from jielong.model.config import ModelConfig, Objective
from jielong.model.encoder_decoder import EncoderDecoder
from jielong.model.formats import families, gguf_architectures
from jielong.model.formats.gguf import read_gguf
from jielong.model.formats.gguf_file import open_gguf
from jielong.model.formats.hugging_face import is_hugging_face, read_model
from jielong.model.formats.safetensors_files import (
    Stored,
    check_type,
    open_file,
    read_into,
    refuse_pickled,
    spell,
)
from jielong.model.formats.settings import Settings
from jielong.model.formats.skeleton import build
from jielong.model.heads import ScalarModel
from jielong.model.lora import LoraConfig, adapters, add_adapters, merged_state
from jielong.model.task_model import TaskModel
from jielong.model.transformer import Transformer
from jielong.tokenizer.bpe import Tokenizer
from jielong.tokenizer.gguf import from_keys
from jielong.tokenizer.special_tokens import SPELLINGS

FOLDER = "model"
SHAPE, WEIGHTS, COUNTS = "model.toml", "model.safetensors", "ngram.npz"
ADAPTER, ADAPTER_WEIGHTS = "adapter.toml", "adapter.safetensors"
GGUF = ".gguf"
BASELINES: dict[str, tuple[type, type]] = {
    "recurrent.toml": (Recurrent, RecurrentConfig),
    "seq2seq.toml": (Seq2Seq, Seq2SeqConfig),
}
"""The shape file of each baseline with weights: its module and its configuration."""
RULES = "rules"
"""What names our own table of rules where a model is asked for."""
_USES: dict[Objective, str] = {
    "causal": "a causal model, which continues texts: ask it with jielong generate",
    "masked": "a masked model, which fills gaps: ask it with jielong evaluate --fill",
    "prefix": "a prefix model, which continues texts: ask it with jielong generate",
    "encoder_decoder": "an encoder-decoder, which continues texts: ask it with jielong generate",
}

_RULES = "a table of rules, which answers: ask it with jielong generate or chat"
_BEFORE = "a model from before the transformer: ask it with jielong generate or chat"
# The head of each kind of model that has one, by the name of a tensor; the first that is there.
_HEADS = {
    "score.weight": "a reward model, which scores answers: name it as reward_run of jielong ppo",
    "trunk.embedding.weight": "a fine-tuned model, which does one task: its run holds its answers,"
    " and jielong.stages.finetune.load reads it",
}

N = TypeVar("N", bound=nn.Module)
M_co = TypeVar("M_co", bound=Speaker, covariant=True)
Shape = ModelConfig | RecurrentConfig | Seq2SeqConfig
Network = Transformer | EncoderDecoder | ScalarModel | TaskModel | Recurrent | Seq2Seq


@dataclass(frozen=True)
class Trained(Generic[M_co]):
    """A finished model, its tokenizer, and what to call it."""

    name: str
    model: M_co
    tokenizer: Tokenizer

    @property
    def context(self) -> int:
        """How many tokens the model can see."""
        return context_of(self.model)

    def describe(self) -> str:
        """One line for a person."""
        reach = "any context" if self.context >= NO_LIMIT else f"context {self.context} tokens"
        return f"{self.name}: {size_of(self.model)}, {reach}"


Assistant = Trained[Transformer]
"""A model that reads left to right: what is taught to answer."""


def make_model(config: ModelConfig) -> Transformer | EncoderDecoder:
    """A model with the weights it starts from."""
    is_pair = config.objective == "encoder_decoder"
    return EncoderDecoder(config) if is_pair else Transformer(config)


def save_model(run: Path, model: Network, tokenizer: Tokenizer) -> dict[str, str]:
    """Write a run's finished model to `run/model`; returns its hash, for the run's manifest."""
    folder = run / FOLDER
    weights = _on_cpu(merged_state(model))
    learned = _adapter_tensors(model)
    shape = next((file for file, (kind, _) in BASELINES.items() if type(model) is kind), SHAPE)
    with first_ahead():
        if is_first():
            write_atomic(folder / WEIGHTS, save(weights))
            _save_adapters(folder, model, learned)
            write_atomic(folder / shape, configs.dumps(model.config))
            tokenizer.save(folder)
    return {"model_sha256": sha256_file(folder / WEIGHTS)}


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: whole(tensor.detach()).cpu().contiguous() for name, tensor in tensors.items()}


def _adapter_tensors(model: nn.Module) -> dict[str, Tensor]:
    layers = adapters(model)
    both = {f"{name}.lora_a": layer.lora_a for name, layer in layers.items()}
    return _on_cpu(both | {f"{name}.lora_b": layer.lora_b for name, layer in layers.items()})


def _save_adapters(folder: Path, model: nn.Module, tensors: dict[str, Tensor]) -> None:
    if not tensors:
        return
    write_atomic(folder / ADAPTER_WEIGHTS, save(tensors))
    config = next(iter(adapters(model).values())).config
    write_atomic(folder / ADAPTER, configs.dumps(config))


def save_ngram(run: Path, model: NgramModel, tokenizer: Tokenizer) -> None:
    """Write a run's finished n-gram model to `run/model`."""
    model.save(run / FOLDER / COUNTS)
    tokenizer.save(run / FOLDER)


def load_speaker(path: Path | str) -> Trained[Speaker]:
    """Load whatever continues a text: a model of any kind, or a table of rules.

    A file `*.toml` is such a table, and the word "rules" means our own. Raises `ConfigError` for a
    model that was trained to do something else.
    """
    path = Path(path)
    if is_table(path):
        return load_rules(path if path.suffix else rules.SHIPPED)
    folder, name = find_model(path)
    if (folder / COUNTS).exists():
        ngram = NgramModel.load(folder / COUNTS)
        return Trained(name, NgramSpeaker(ngram), matching_tokenizer(folder, ngram.vocab_size))
    for file, (kind, shape) in BASELINES.items():
        if (folder / file).exists():
            config = configs.load(shape, folder / file)
            model = _load(lambda kind=kind, config=config: kind(config), folder / file, config)
            tokenizer = matching_tokenizer(folder, config.vocab_size)
            return Trained(name, model.eval(), tokenizer)
    return load_trained(path, "causal", "prefix", "encoder_decoder")


def is_table(path: Path) -> bool:
    """Whether a table of rules is meant: a file `*.toml`, or our own by its name."""
    named = str(path) == RULES and not path.exists()
    return named or (path.suffix == ".toml" and not path.is_dir())


def load_rules(path: Path) -> Trained[RuleSpeaker]:
    """What answers by a table of rules; its tokens are bytes, for it knows no words."""
    tokenizer = Tokenizer.train((), len(SPELLINGS) + 256)
    return Trained(path.stem, RuleSpeaker(RuleTable.load(path), tokenizer), tokenizer)


def load_adapter(folder: Path) -> tuple[LoraConfig, dict[str, Tensor]]:
    """The adapter beside the model in `folder`: its settings, and `NAME.lora_a` and `NAME.lora_b`.

    Raises `ConfigError` when the model was trained without.
    """
    if not (folder / ADAPTER).exists():
        raise ConfigError(f"{folder}: was trained without adapters: train it with a [lora] table")
    config, lora = _read_own_shape(folder), configs.load(LoraConfig, folder / ADAPTER)

    def make() -> nn.Module:
        model = make_model(config)
        add_adapters(model, lora)
        return model

    shapes = {name: stored.shape for name, stored in open_file(folder / WEIGHTS).items()}
    model = build(make, vars(config), shapes, str(folder / ADAPTER))
    wanted = {name: p for name, p in model.named_parameters() if p.requires_grad}
    return lora, _read(folder / ADAPTER_WEIGHTS, wanted, ADAPTER)


def load_assistant(path: Path | str) -> Assistant:
    """Load what can be taught: the causal model of a run, a quickstart directory or a folder."""
    return load_transformer(path, "causal")


def load_transformer(path: Path | str, *objectives: Objective) -> Trained[Transformer]:
    """Load a model that is one stack of layers, trained for one of `objectives`."""
    trained = load_trained(path, *objectives)
    assert isinstance(trained.model, Transformer)
    return Trained(trained.name, trained.model, trained.tokenizer)


def load_trained(path: Path | str, *objectives: Objective) -> Trained[Transformer | EncoderDecoder]:
    """Load the model of a finished run, a quickstart directory, or a model folder, ours or not.

    Raises `ConfigError` when it was trained to do something else than `objectives`.
    """
    path = Path(path)
    wanted = f"this takes a {' or '.join(objectives)} model"
    if is_table(path):
        raise ConfigError(f"{path}: {_RULES}; {wanted}")
    place, name = find_model(path)
    if place.suffix != GGUF and not is_hugging_face(place) and not (place / SHAPE).exists():
        raise ConfigError(f"{path}: {_BEFORE}; {wanted}")
    config = read_shape(place)
    if config.objective not in objectives:
        raise ConfigError(f"{path}: {_USES[config.objective]}; {wanted}")
    if place.suffix == GGUF:
        model, tokenizer = _read_gguf(place)
        return Trained(name, model.to(default_device()), tokenizer)
    theirs = is_hugging_face(place)
    model = (
        read_model(place) if theirs else _load(lambda: make_model(config), place / SHAPE, config)
    )
    tokenizer = matching_tokenizer(place, config.vocab_size)
    return Trained(name, model.to(default_device()).eval(), tokenizer)


def read_shape(place: Path) -> ModelConfig:
    """The shape of a model, given what `find_model` says of where it is."""
    if place.suffix == GGUF:
        return gguf_architectures.read_config(open_gguf(place))[1]
    if is_hugging_face(place):
        return families.read_config(Settings.load(place))[1]
    return _read_own_shape(place)


def _read_own_shape(folder: Path) -> ModelConfig:
    if not (folder / SHAPE).exists():
        raise ConfigError(f"{folder}: {_BEFORE}; this takes a transformer of ours")
    return configs.load(ModelConfig, folder / SHAPE)


def _read_gguf(file: Path) -> tuple[Transformer, Tokenizer]:
    model, keys = read_gguf(file)
    content, settings = from_keys(keys, str(file))
    end = keys.get("tokenizer.ggml.eos_token_id")
    tokenizer = Tokenizer.parse(content, settings, str(file))
    ends = [] if end is None else [end]
    return model, matched(tokenizer, model.config.vocab_size, ends, file)


def load_reward_model(path: Path | str) -> tuple[ScalarModel, Tokenizer]:
    """Load a finished reward model and the tokenizer it reads with."""
    folder, _ = find_model(Path(path))
    config = _read_own_shape(folder)
    model = _load(lambda: ScalarModel(config), folder / SHAPE, config)
    return model.eval(), matching_tokenizer(folder, model.config.vocab_size)


def load_task_model(path: Path | str, classes: int | None) -> tuple[TaskModel, Tokenizer]:
    """Load a finished model with a task head, and the tokenizer it reads with."""
    folder, _ = find_model(Path(path))
    config = _read_own_shape(folder)
    model = _load(lambda: TaskModel(config, classes), folder / SHAPE, config)
    return model.eval(), matching_tokenizer(folder, model.config.vocab_size)


def find_model(path: Path) -> tuple[Path, str]:
    """The model folder, or GGUF file, that `path` means, and a name for it.

    A quickstart directory means its last aligned stage. Raises `RunDirectoryError` for a path that
    holds no model, or a run that has not finished.
    """
    refuse_pickled(path)
    if path.suffix == GGUF and path.is_file():
        return path, path.stem
    if not path.is_dir():
        raise RunDirectoryError(f"{path}: no such model: give a run, a model folder or a GGUF file")
    if _holds_model(path):
        return path, path.resolve().name if path.name != FOLDER else path.resolve().parent.name
    if _holds_model(path / FOLDER):
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


def _holds_model(folder: Path) -> bool:
    ours = (SHAPE, COUNTS, *BASELINES)
    return any((folder / file).exists() for file in ours) or is_hugging_face(folder)


def _load(make: Callable[[], N], shape: Path, config: Shape) -> N:
    """The model of a folder of ours, `shape` its file of settings and `config` what that says.

    Raises `CheckpointError` for weights that are not its own; all is checked before one is read.
    """
    file = shape.with_name(WEIGHTS)
    _verify(shape.parent)
    stored = open_file(file)
    model = build(make, vars(config), {n: s.shape for n, s in stored.items()}, str(shape))
    model.load_state_dict(_read(file, model.state_dict(), shape.name), assign=True)
    return model.to(default_device())


def _read(file: Path, wanted: Mapping[str, Tensor], settings: str) -> dict[str, Tensor]:
    """The tensors of a file, when they are those that its `settings` want, and their numbers."""
    stored = open_file(file)
    _match(stored, wanted, file, settings)
    found = {name: torch.empty(tensor.shape) for name, tensor in wanted.items()}
    for name, tensor in stored.items():
        read_into(tensor, found[name])
    return found


def _match(
    stored: Mapping[str, Stored], wanted: Mapping[str, Tensor], file: Path, settings: str
) -> None:
    """Every tensor that the settings ask for is there and has its form, and no other is there."""
    for mark, kind in _HEADS.items():
        if mark in stored and mark not in wanted:
            raise CheckpointError(f"{file.parent}: {kind}")
    for name, tensor in wanted.items():
        if name not in stored:
            raise CheckpointError(
                f"{file}: holds no {name}, and {settings} asks for it: copy both from one place"
            )
        check_type(stored[name])
        if stored[name].shape != tensor.shape:
            raise CheckpointError(
                f"{file}: {name} is {spell(stored[name].shape)} and {settings} asks for "
                f"{spell(tensor.shape)}: copy both from one place"
            )
    unplaced = [name for name in stored if name not in wanted]
    if unplaced:
        raise CheckpointError(
            f"{file}: {unplaced[0]} has no place in a model of that {settings}: copy both from "
            "one place"
        )


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
