"""Pretrain: a language model from nothing, by predicting tokens of the packed corpus."""

import dataclasses
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from jielong.core.config import check_positive
from jielong.core.device import check_compiler, default_device
from jielong.core.errors import ConfigError
from jielong.core.run_dir import RunDir, open_finished
from jielong.core.seeds import derive
from jielong.data.shards import Shard
from jielong.generation.loading import Trained, make_model, save_model
from jielong.model.config import ModelConfig, Objective
from jielong.model.sizes import TRAINING, forward_flops
from jielong.model.transformer import compile_blocks
from jielong.stages.forecast import Demand, Prediction, foresee
from jielong.stages.held_out import held_out_loss
from jielong.stages.learning import check_machine, make_learner
from jielong.stages.lessons import CorruptionConfig, Lesson, causal, lesson, window_parts
from jielong.stages.samples import SampleConfig, sampler
from jielong.tokenizer.bpe import Tokenizer
from jielong.training.learner import Part
from jielong.training.loop import Plan, run_training, totals
from jielong.training.optimizers import OptimizerConfig
from jielong.training.plan import LoopConfig
from jielong.training.settings import TrainingConfig
from jielong.training.speed import Work


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """`data` is a tokenize run; a step sees `batch` windows of `window` tokens.

    `objective` is what is learned from them: the next token ("causal"), tokens that were hidden
    ("masked", with a model that reads both ways), the rest after a first part that is read both
    ways ("prefix"), or after one that another stack of blocks reads ("encoder_decoder"). With
    `keep_best` the loss on held-out text is measured at each checkpoint, and the best one is kept.
    With `compile` PyTorch's compiler makes kernels for the blocks at the first step: that needs a
    C++ compiler and some half a minute, and makes each step shorter.
    `prediction` is what a plan said of the run.
    """

    run_dir: str
    data: str
    objective: Objective = "causal"
    seed: int = 0
    steps: int
    batch: int
    window: int = 256
    save_every: int = 500
    keep_best: bool = False
    compile: bool = False
    loop: LoopConfig = field(default_factory=LoopConfig)
    samples: SampleConfig = field(default_factory=SampleConfig)
    corruption: CorruptionConfig = field(default_factory=CorruptionConfig)
    model: ModelConfig
    optimizer: OptimizerConfig
    training: TrainingConfig = field(default_factory=TrainingConfig)
    prediction: Prediction | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        check_positive(self, "steps", "batch", "window", "save_every")
        if self.window > self.model.context:
            raise ValueError(f"window: {self.window}: exceeds model.context {self.model.context}")
        if self.window < 2:
            raise ValueError(f"window: {self.window}: must be at least 2")
        if self.objective == "encoder_decoder" and self.corruption.source == "spans":
            needed = self.corruption.longest(self.window)
            if needed > self.model.context:
                raise ValueError(
                    f"window: {self.window}: with its masks needs {needed} tokens, which exceeds "
                    f"model.context {self.model.context}"
                )
        if self.model.objective not in ("causal", self.objective):
            raise ValueError(
                f"model.objective: {self.model.objective!r}: leave it out: the recipe's own "
                f"objective, here {self.objective!r}, tells it"
            )
        if self.samples.every and self.objective == "masked":
            raise ValueError("samples.every: a masked model continues no text: leave it out")
        if self.model.bidirectional and self.objective != "masked":
            raise ValueError(
                f"model.bidirectional: true: with the objective {self.objective!r} the model would "
                "see what it has to predict: leave it out"
            )
        self._check_compilable()
        try:
            self.shape()
        except ValueError as error:
            raise ValueError(f"model.{error}") from None

    def _check_compilable(self) -> None:
        if not self.compile:
            return
        has_rules = self.objective in ("prefix", "encoder_decoder")
        if has_rules or self.model.has_patterns or self.model.dropout:
            raise ValueError(
                "compile: true: is for blocks without dropout that see all, or all before: with "
                "this objective, model.attention or model.dropout leave it out"
            )
        if self.training.parallel == "fsdp":
            raise ValueError(
                "compile: true: is not for weights that processes hold in parts: leave it out, or "
                'training.parallel = "fsdp"'
            )

    def shape(self, tokenizer: Tokenizer | None = None) -> ModelConfig:
        """The model's configuration with what `objective` and the tokenizer tell."""
        told = dataclasses.replace(
            self.model, objective=self.objective, bidirectional=self.objective == "masked"
        )
        if tokenizer is None:
            return told
        return with_vocabulary(told, tokenizer)


def run(config: PretrainConfig, *, resume: bool | str = False) -> Path:
    """Train from random weights; returns the run directory with its finished model."""
    check_machine(config.training)
    if config.compile:
        check_compiler()
    data = open_finished(config.data, "tokenize")
    tokenizer = Tokenizer.load(data.path)
    shape = config.shape(tokenizer)
    foresee(
        config.prediction,
        Demand.of(shape, config.optimizer, config.training, config.batch, config.window),
    )
    run = RunDir.create(
        config.run_dir,
        stage="pretrain",
        config=config,
        inputs={"data": data.path},
        resume=resume,
        may_change=("loop",),
    )
    torch.manual_seed(derive(config.seed, "weights"))
    model = make_model(shape).to(default_device())
    if config.compile:
        compile_blocks(model)
    learner = make_learner(model, config.optimizer, config.training, config.steps)
    names = [f"phase-{name}" for name in data.manifest.get("phases", ())] or ["train"]
    phases = [Shard.load(data.path / f"{name}.npz").tokens for name in names]
    taught = lesson(config.objective, config.window, config.corruption, tokenizer)
    documents = curriculum(phases, config, taught)
    plan = Plan(
        steps=config.steps,
        save_every=config.save_every,
        held_out_loss=_held_out(config, data.path, model, taught) if config.keep_best else None,
        work=_work(config, model.config),
        loop=config.loop,
    )
    hooks = sampler(config.samples, run, Trained("", model, tokenizer), config.seed)
    run_training(run, learner, lambda step: [documents(step)], plan, hooks)
    with learner.averaged():
        found = totals(run.path) | save_model(run.path, model, tokenizer)
    run.finish(found)
    return run.path


def with_vocabulary(shape: ModelConfig, tokenizer: Tokenizer) -> ModelConfig:
    """The shape with what a recipe leaves to the tokenizer: how many ids, and which open a turn."""
    special = tokenizer.special
    turns = (special.user, special.assistant, special.system) if shape.segments else ()
    return dataclasses.replace(
        shape, vocab_size=tokenizer.vocab_size, turn_ids=shape.turn_ids or turns
    )


def _held_out(
    config: PretrainConfig, data: Path, model: nn.Module, lesson: Lesson
) -> Callable[[], float]:
    tokens = Shard.load(data / "valid.npz").tokens
    seed = derive(config.seed, "held out")
    return held_out_loss(model, window_parts(tokens, lesson, config.batch, seed))


def _work(config: PretrainConfig, shape: ModelConfig) -> Work | None:
    """What a step computes; unknown where each row is cut at another place."""
    if config.objective == "encoder_decoder":
        return None
    tokens = config.batch * config.window
    return Work(tokens, TRAINING * forward_flops(shape, config.window) * tokens)


def check_window(name: str, window: int, context: int) -> None:
    """Refuse windows that the model cannot see whole."""
    if window > context:
        raise ConfigError(f"{name}: {window}: exceeds the model's context of {context}: shorten it")


def curriculum(
    phases: Sequence[np.ndarray], config: PretrainConfig, lesson: Lesson
) -> Callable[[int], Part]:
    """The windows of one phase after the other; each has steps in proportion to its tokens."""
    ends = np.cumsum([len(tokens) for tokens in phases])
    last = np.round(ends / ends[-1] * config.steps).astype(int).tolist()
    parts = [window_parts(tokens, lesson, config.batch, config.seed) for tokens in phases]
    for first in parts:
        first(0)  # a phase too short for its windows is told now, not when its turn comes

    def part(step: int) -> Part:
        phase = bisect_right(last[:-1], step)
        first = last[phase - 1] if phase else 0
        return parts[phase](step - first)

    return part


def document_parts(
    tokens: np.ndarray, batch: int, window: int, seed: int, weight: float = 1.0, name: str = ""
) -> Callable[[int], Part]:
    """Windows of plain text as a term of a step that teaches something else too."""
    return window_parts(tokens, causal(window), batch, seed, weight, name)
