"""Finetune: one task with right answers, by a head on a pretrained model (GPT-1's way)."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from jielong.core import config as configs
from jielong.core.config import check_positive
from jielong.core.device import default_device
from jielong.core.errors import DataError
from jielong.core.files import write_atomic
from jielong.core.processes import is_first
from jielong.core.progress import say
from jielong.core.run_dir import RunDir, open_finished
from jielong.core.seeds import derive
from jielong.data.lexicon import Lexicon
from jielong.data.task_rows import (
    Encoded,
    Example,
    Kind,
    batch_of,
    drawn,
    encode,
    read_examples,
    word_examples,
)
from jielong.evaluation.classification import classification_score, majority
from jielong.generation.loading import load_assistant, load_task_model, save_model
from jielong.model.task_model import TaskModel
from jielong.objectives.finetune import TaskBatch, finetune_loss
from jielong.objectives.loss import Loss
from jielong.stages.learning import check_machine, make_learner
from jielong.stages.pretrain import check_window
from jielong.tokenizer.bpe import Tokenizer
from jielong.training.learner import Part
from jielong.training.loop import Plan, run_training, totals
from jielong.training.optimizers import OptimizerConfig
from jielong.training.plan import LoopConfig
from jielong.training.settings import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """What to learn, from where, and how much the text itself counts beside the answers.

    Examples are the lines of `train` and `test` (JSONL), or else the words of known fields of a
    `prepared` run ("" is none), held out by word. `kind` says how they become rows of at most
    `longest` tokens; `lm_weight` is lambda. Training is `epochs` passes in batches of `batch`.
    """

    run_dir: str
    init_from: str
    kind: Kind = "classification"
    train: str | None = None
    test: str | None = None
    prepared: str | None = None
    seed: int = 0
    epochs: int = 3
    batch: int = 32
    longest: int = 128
    lm_weight: float = 0.5
    dropout: float = 0.1
    save_every: int = 500
    loop: LoopConfig = field(default_factory=LoopConfig)
    optimizer: OptimizerConfig
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        check_positive(self, "epochs", "batch", "save_every")
        if self.longest < 8:
            raise ValueError(f"longest: {self.longest}: must be at least 8")
        if not self.lm_weight >= 0:
            raise ValueError(f"lm_weight: {self.lm_weight}: must not be negative")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: {self.dropout}: must be at least 0 and below 1")
        if bool(self.train) != bool(self.test) or bool(self.train) == bool(self.prepared):
            raise ValueError("train: give train and test files, or a prepared run instead")
        if self.prepared and self.kind != "classification":
            raise ValueError(f"kind: {self.kind!r}: a prepared run has 'classification' only")


def run(config: FinetuneConfig, *, resume: bool | str = False) -> Path:
    """Fine-tune, then answer the held-out examples; returns the run directory."""
    check_machine(config.training)
    base = open_finished(config.init_from, "pretrain")
    given = {name: getattr(config, name) for name in ("train", "test", "prepared")}
    inputs = {name: Path(path) for name, path in given.items() if path}
    assistant = load_assistant(base.path)
    check_window("longest", config.longest, assistant.context)
    # Read all of the user's files first: a bad line must leave no half-begun run behind.
    train, test = _examples(config)
    labels = _labels(train, test, config.kind)
    encoded = encode(assistant.tokenizer, train, labels, config.longest)
    held_out = encode(assistant.tokenizer, test, labels, config.longest)
    run = RunDir.create(
        config.run_dir,
        stage="finetune",
        config=config,
        inputs={"init_from": base.path} | inputs,
        resume=resume,
        may_change=("loop",),
    )
    cut = sum(example.is_cut for example in (*encoded, *held_out))
    if cut:
        say(f"{cut} examples are longer than {config.longest} tokens: their end is cut")
    unknown = sorted({example.label for example in test} - set(labels))
    if unknown and config.kind != "choice":
        number = sum(example.label in unknown for example in test)
        say(f"{number} held-out examples are wrong by their label, never taught: {unknown[0]!r} ..")
    torch.manual_seed(derive(config.seed, "finetune"))
    model = TaskModel(assistant.model.config, _classes(config.kind, labels), config.dropout)
    model.trunk.load_state_dict(assistant.model.state_dict())
    model.to(default_device()).train()
    steps = -(-config.epochs * len(encoded) // config.batch)
    learner = make_learner(model, config.optimizer, config.training, steps)
    pad = assistant.tokenizer.special.pad
    plan = Plan(steps=steps, save_every=config.save_every, loop=config.loop)
    run_training(run, learner, _batches(config, encoded, pad), plan)
    with learner.averaged():
        answers = [labels[number] for number in answer(model, held_out, pad)]
        found = totals(run.path) | save_model(run.path, model, assistant.tokenizer)
    run.finish(found | {"labels": labels} | _write_scores(run.path, train, test, answers))
    return run.path


def load(path: Path) -> tuple[TaskModel, Tokenizer, list[str]]:
    """A finished run's model, what it reads with, and what its answers' numbers stand for."""
    finished = open_finished(path, "finetune")
    labels = finished.manifest["labels"]
    kind = configs.load(FinetuneConfig, finished.path / "config.toml").kind
    model, tokenizer = load_task_model(finished.path, _classes(kind, labels))
    return model, tokenizer, labels


@torch.no_grad()
def answer(model: TaskModel, examples: Sequence[Encoded], pad: int, batch: int = 64) -> list[int]:
    """The number of the best class or choice for each example."""
    model.eval()
    found: list[int] = []
    for start in range(0, len(examples), batch):
        rows = _on_device(examples[start : start + batch], pad)
        nothing = torch.zeros_like(rows.ids, dtype=torch.bool)
        scores, _ = model(rows.ids, rows.lengths, select=nothing)
        found += scores.argmax(dim=1).tolist()
    return found


def _batches(
    config: FinetuneConfig, examples: Sequence[Encoded], pad: int
) -> Callable[[int], list[Part]]:
    def loss(model: TaskModel, batch: TaskBatch) -> Loss:
        return finetune_loss(model, batch, config.lm_weight)

    def parts(step: int) -> list[Part]:
        chosen = drawn(examples, config.batch, config.seed, step)
        return [Part([_on_device(chosen, pad)], loss)]

    return parts


def _classes(kind: Kind, labels: Sequence[str]) -> int | None:
    return None if kind == "choice" else len(labels)


def _examples(config: FinetuneConfig) -> tuple[list[Example], list[Example]]:
    """What is learned from, and what is held out."""
    if config.prepared:
        prepared = open_finished(config.prepared, "prepare")
        lexicon = Lexicon.load(prepared.path / "lexicon.json")
        seed = config.seed
        return word_examples(lexicon, "train", seed), word_examples(lexicon, "test", seed)
    assert config.train
    assert config.test
    train, test = Path(config.train), Path(config.test)
    return read_examples(train, config.kind), read_examples(test, config.kind)


def _labels(train: Sequence[Example], test: Sequence[Example], kind: Kind) -> list[str]:
    """The answers that can be given: all labels that are taught, or the number of each choice."""
    if kind == "choice":
        return [str(number) for number in range(max(len(e.rows) for e in (*train, *test)))]
    labels = sorted({example.label for example in train})
    if len(labels) < 2:
        raise DataError(f"train: all examples have the label {labels[0]!r}: give at least two")
    return labels


def _write_scores(
    run: Path, train: Sequence[Example], test: Sequence[Example], answers: Sequence[str]
) -> dict[str, Any]:
    """Score the held-out answers, beside always giving the commonest; say so, and write both."""
    expected = [example.label for example in test]
    found = classification_score(expected, answers)
    common = majority([example.label for example in train])
    baseline = classification_score(expected, [common] * len(expected))
    scores = {**found.to_dict(), "majority": {"label": common, **baseline.to_dict()}}
    lines = [
        json.dumps({"rows": e.rows, "label": e.label, "answer": a}, ensure_ascii=False) + "\n"
        for e, a in zip(test, answers, strict=True)
    ]
    if is_first():
        write_atomic(run / "predictions.jsonl", "".join(lines))
        text = json.dumps(scores, ensure_ascii=False, indent=1) + "\n"
        write_atomic(run / "evaluation.json", text)
    say(
        f"{found.n} held-out examples: accuracy {found.accuracy.estimate:.3f} "
        f"({found.accuracy.low:.3f} to {found.accuracy.high:.3f}), macro F1 {found.macro_f1:.3f}; "
        f"always {common!r}: {baseline.accuracy.estimate:.3f}, {baseline.macro_f1:.3f}"
    )
    return {"accuracy": found.accuracy.estimate, "macro_f1": found.macro_f1}


def _on_device(examples: Sequence[Encoded], pad: int) -> TaskBatch:
    device = default_device()
    return TaskBatch(*(torch.from_numpy(array).to(device) for array in batch_of(examples, pad)))
