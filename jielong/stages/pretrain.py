"""Pretrain: a language model from nothing, by predicting the next token of the packed corpus."""

import dataclasses
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from jielong.core.config import check_positive
from jielong.core.device import default_device
from jielong.core.errors import ConfigError
from jielong.core.run_dir import RunDir, open_finished
from jielong.core.seeds import derive
from jielong.data.shards import Shard, window_rows
from jielong.generation.loading import save_model
from jielong.model.config import ModelConfig
from jielong.model.transformer import Transformer
from jielong.objectives.language_model import TokenBatch, next_token_loss
from jielong.tokenizer.bpe import Tokenizer
from jielong.training.learner import Learner, Part
from jielong.training.loop import Plan, run_training, totals
from jielong.training.optimizers import OptimizerConfig, Schedule, make_optimizers


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """`data` is a tokenize run; a step sees `batch` windows of `window` tokens."""

    run_dir: str
    data: str
    seed: int = 0
    steps: int
    batch: int
    window: int = 256
    save_every: int = 500
    model: ModelConfig
    optimizer: OptimizerConfig

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        check_positive(self, "steps", "batch", "window", "save_every")
        if self.window > self.model.context:
            raise ValueError(f"window: {self.window}: exceeds model.context {self.model.context}")


def run(config: PretrainConfig, *, resume: bool = False) -> Path:
    """Train from random weights; returns the run directory with its finished model."""
    data = open_finished(config.data, "tokenize")
    run = RunDir.create(
        config.run_dir, stage="pretrain", config=config, inputs={"data": data.path}, resume=resume
    )
    tokenizer = Tokenizer.load(data.path)
    torch.manual_seed(derive(config.seed, "weights"))
    shape = dataclasses.replace(config.model, vocab_size=tokenizer.vocab_size)
    model = Transformer(shape).to(default_device())
    learner = Learner(
        model,
        make_optimizers(model, config.optimizer),
        Schedule.of(config.optimizer, config.steps),
        config.optimizer.clip,
    )
    names = [f"phase-{name}" for name in data.manifest.get("phases", ())] or ["train"]
    documents = curriculum([Shard.load(data.path / f"{name}.npz").tokens for name in names], config)
    plan = Plan(steps=config.steps, save_every=config.save_every)
    run_training(run, learner, lambda step: [documents(step)], plan)
    found = totals(run.path) | save_model(run.path, model, tokenizer)
    run.finish(found)
    return run.path


def check_window(name: str, window: int, context: int) -> None:
    """Refuse windows that the model cannot see whole."""
    if window > context:
        raise ConfigError(f"{name}: {window}: exceeds the model's context of {context}: shorten it")


def curriculum(phases: Sequence[np.ndarray], config: PretrainConfig) -> Callable[[int], Part]:
    """The windows of one phase after the other; each has steps in proportion to its tokens."""
    ends = np.cumsum([len(tokens) for tokens in phases])
    last = np.round(ends / ends[-1] * config.steps).astype(int).tolist()
    parts = [document_parts(tokens, config.batch, config.window, config.seed) for tokens in phases]
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
    """Windows of plain text as a term of a step: pretraining itself, a share of SFT and PPO-ptx."""

    def part(step: int) -> Part:
        rows = window_rows(tokens, window + 1, batch, derive(seed, "documents"), step)
        ids = torch.from_numpy(rows).to(default_device())
        return Part(
            [TokenBatch(ids, torch.ones_like(ids, dtype=torch.bool))],
            next_token_loss,
            weight,
            name,
        )

    return part
