"""Finished models on disk: `model.toml`, `model.safetensors` and `tokenizer.json` in one folder.

A finished run keeps its model in `RUN/model`. What came before the transformer lies there likewise:
`recurrent.toml` or `seq2seq.toml` with weights, or the counts in `ngram.npz`. The model and the
tokenizer meet here for the first time; below this room they know each other as integers only.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load, save

from jielong.baselines import rules
from jielong.baselines.ngram import NgramModel
from jielong.baselines.recurrent import Recurrent, RecurrentConfig
from jielong.baselines.rules import RuleTable
from jielong.baselines.seq2seq import Seq2Seq, Seq2SeqConfig
from jielong.core import config as configs
from jielong.core.device import default_device
from jielong.core.errors import CheckpointError, RunDirectoryError
from jielong.core.files import sha256_file, write_atomic
from jielong.core.run_dir import MANIFEST, open_run
from jielong.generation.readers import (
    NO_LIMIT,
    NgramSpeaker,
    RuleSpeaker,
    Speaker,
    context_of,
    size_of,
)
from jielong.model.config import ModelConfig
from jielong.model.decoder import Decoder
from jielong.model.heads import ScalarModel
from jielong.tokenizer.bpe import Tokenizer
from jielong.tokenizer.special_tokens import SPELLINGS

FOLDER = "model"
SHAPE, WEIGHTS, COUNTS = "model.toml", "model.safetensors", "ngram.npz"
BASELINES: dict[str, tuple[type, type]] = {
    "recurrent.toml": (Recurrent, RecurrentConfig),
    "seq2seq.toml": (Seq2Seq, Seq2SeqConfig),
}
"""The shape file of each baseline with weights: its module and its configuration."""
RULES = "rules"
"""What names our own table of rules where a model is asked for."""

M = TypeVar("M", bound=Speaker)
Network = Decoder | ScalarModel | Recurrent | Seq2Seq
N = TypeVar("N", Decoder, ScalarModel, Recurrent, Seq2Seq)


@dataclass
class Assistant(Generic[M]):
    """What answers: a model, its tokenizer, and what to call it."""

    name: str
    model: M
    tokenizer: Tokenizer

    @property
    def context(self) -> int:
        """How many tokens the model can see."""
        return context_of(self.model)

    def describe(self) -> str:
        """One line for a person."""
        reach = "any context" if self.context >= NO_LIMIT else f"context {self.context} tokens"
        return f"{self.name}: {size_of(self.model)}, {reach}"


def save_model(run: Path, model: Network, tokenizer: Tokenizer) -> dict[str, str]:
    """Write a run's finished model to `run/model`; returns its hash, for the run's manifest."""
    folder = run / FOLDER
    weights = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
    write_atomic(folder / WEIGHTS, save(weights))
    shape = next((file for file, (kind, _) in BASELINES.items() if type(model) is kind), SHAPE)
    write_atomic(folder / shape, configs.dumps(model.config))
    tokenizer.save(folder)
    return {"model_sha256": sha256_file(folder / WEIGHTS)}


def save_ngram(run: Path, model: NgramModel, tokenizer: Tokenizer) -> None:
    """Write a run's finished n-gram model to `run/model`."""
    model.save(run / FOLDER / COUNTS)
    tokenizer.save(run / FOLDER)


def load_assistant(path: Path | str) -> Assistant:
    """Load what answers from a finished run, a quickstart directory, or a model folder.

    A file `*.toml` is a table of rules, and the word "rules" means our own.
    """
    path = Path(path)
    if path.suffix == ".toml" and not path.is_dir():
        return load_rules(path)
    if str(path) == RULES and not path.exists():
        return load_rules(rules.SHIPPED)
    folder, name = find_model(path)
    if (folder / COUNTS).exists():
        ngram = NgramModel.load(folder / COUNTS)
        return Assistant(name, NgramSpeaker(ngram), _matching_tokenizer(folder, ngram.vocab_size))
    for file, (kind, shape) in BASELINES.items():
        if (folder / file).exists():
            model = _load_into(kind, folder, configs.load(shape, folder / file))
            break
    else:
        model = _load_into(Decoder, folder, configs.load(ModelConfig, folder / SHAPE))
    tokenizer = _matching_tokenizer(folder, model.config.vocab_size)
    return Assistant(name, model.eval(), tokenizer)


def load_rules(path: Path) -> Assistant[RuleSpeaker]:
    """What answers by a table of rules; its tokens are bytes, for it knows no words."""
    tokenizer = Tokenizer.train((), len(SPELLINGS) + 256)
    return Assistant(path.stem, RuleSpeaker(RuleTable.load(path), tokenizer), tokenizer)


def load_reward_model(path: Path | str) -> tuple[ScalarModel, Tokenizer]:
    """Load a finished reward model and the tokenizer it reads with."""
    folder, _ = find_model(Path(path))
    model = _load_into(ScalarModel, folder, configs.load(ModelConfig, folder / SHAPE))
    return model.eval(), _matching_tokenizer(folder, model.config.vocab_size)


def find_model(path: Path) -> tuple[Path, str]:
    """The model folder that `path` means, and a name for it.

    A quickstart directory means its last aligned stage. Raises `RunDirectoryError` for a path that
    holds no model, or a run that has not finished.
    """
    if not path.is_dir():
        raise RunDirectoryError(f"{path}: no such directory: give a run directory with a model")
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
    return any((folder / file).exists() for file in (SHAPE, COUNTS, *BASELINES))


def _load_into(kind: type[N], folder: Path, config: Any) -> N:  # noqa: ANN401 - the kind's own
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


def _matching_tokenizer(folder: Path, vocab_size: int) -> Tokenizer:
    tokenizer = Tokenizer.load(folder)
    if tokenizer.vocab_size != vocab_size:
        raise CheckpointError(
            f"{folder}: the tokenizer has {tokenizer.vocab_size} entries and the model "
            f"{vocab_size}: they do not belong together; copy both from one run"
        )
    return tokenizer
