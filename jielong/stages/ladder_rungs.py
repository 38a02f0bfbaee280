"""The rungs of the ladder: each kind of model trained, measured and kept in a run of its own."""

import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from jielong.baselines.ngram import NgramModel
from jielong.baselines.ngram_smoothing import Smoothing
from jielong.baselines.recurrent import Recurrent, RecurrentConfig
from jielong.baselines.seq2seq import Seq2Seq, Seq2SeqConfig
from jielong.core import config as configs
from jielong.core.config import check_positive
from jielong.core.device import default_device
from jielong.core.run_dir import MANIFEST, RunDir
from jielong.core.seeds import derive, generator
from jielong.data.sentence_pairs import SentencePair
from jielong.data.shards import Shard
from jielong.evaluation.ladder_summary import Rung
from jielong.evaluation.language_modeling import BitsPerByte, score, score_ngram
from jielong.evaluation.models import token_nats
from jielong.generation.loading import save_model, save_ngram
from jielong.model.config import ModelConfig
from jielong.model.transformer import Transformer
from jielong.objectives.sequence_to_sequence import Marks, SourceTarget, lay_out, target_loss
from jielong.stages.learning import make_learner
from jielong.stages.pretrain import document_parts, with_vocabulary
from jielong.tokenizer.bpe import Tokenizer
from jielong.training.learner import Learner, Part
from jielong.training.loop import Plan, run_training, totals
from jielong.training.optimizers import OptimizerConfig
from jielong.training.settings import TrainingConfig

_TRIAL_SHARE = 0.05  # of the seconds that a rung has, to find out how long a step takes
_TRIAL_STEPS = 5
_CHECKPOINTS = 4


@dataclass(frozen=True, kw_only=True)
class NgramRung:
    """Counts of up to `order` tokens in a row."""

    order: int
    smoothing: Smoothing = field(default_factory=Smoothing)

    def __post_init__(self) -> None:
        """Refuse what cannot be counted."""
        check_positive(self, "order")


@dataclass(frozen=True, kw_only=True)
class TrainingRung:
    """A step sees `batch` rows; `steps` 0 means as many as fit into the ladder's seconds."""

    batch: int
    steps: int = 0
    optimizer: OptimizerConfig

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        check_positive(self, "batch")
        if self.steps < 0:
            raise ValueError(f"steps: {self.steps}: give 0 or more")


@dataclass(frozen=True, kw_only=True)
class RecurrentRung(TrainingRung):
    """An LSTM or GRU on windows of `window` tokens."""

    window: int
    model: RecurrentConfig

    def __post_init__(self) -> None:
        """Refuse what cannot be trained, or not be measured."""
        super().__post_init__()
        _check_windows(self.window, self.model.context)


@dataclass(frozen=True, kw_only=True)
class TransformerRung(TrainingRung):
    """A transformer on windows of `window` tokens, each of which it predicts from those before."""

    window: int
    model: ModelConfig

    def __post_init__(self) -> None:
        """Refuse what cannot be trained, or sees what it has to predict."""
        super().__post_init__()
        _check_windows(self.window, self.model.context)
        if self.window > self.model.context:
            raise ValueError(f"window: {self.window}: exceeds model.context {self.model.context}")
        if self.model.objective != "causal":
            raise ValueError(
                f"model.objective: {self.model.objective!r}: a rung predicts the next token: "
                "leave it out"
            )
        if self.model.bidirectional:
            raise ValueError(
                "model.bidirectional: true: the model would see what it has to predict: leave it "
                "out"
            )


def _check_windows(window: int, context: int) -> None:
    """Held-out text is read in windows that overlap by half: of one token there is none."""
    for name, size in (("window", window), ("model.context", context)):
        if size < 2:
            raise ValueError(f"{name}: {size}: must be at least 2")


@dataclass(frozen=True, kw_only=True)
class Seq2SeqRung(TrainingRung):
    """A translator from Chinese to English; with `words` it also reads dictionary entries."""

    words: bool = True
    model: Seq2SeqConfig


@dataclass(frozen=True)
class Material:
    """What every rung learns from and is measured on, and for how long."""

    tokenizer: Tokenizer
    train: Shard
    valid: Shard
    seconds: float
    seed: int


M = TypeVar("M", bound=nn.Module)
Batches = Callable[[int], Sequence[Part]]
Row = tuple[Sequence[int], Sequence[int]]
"""The ids of a sentence and of its translation."""


def climb_ngram(run: RunDir, rung: NgramRung, material: Material) -> None:
    """Count, measure, keep."""
    started = time.perf_counter()
    size = material.tokenizer.vocab_size
    model = NgramModel.fit(material.train.tokens, rung.order, size, smoothing=rung.smoothing)
    found = {"train_s": time.perf_counter() - started, "tokens": len(material.train.tokens)}
    save_ngram(run.path, model, material.tokenizer)
    scored = score_ngram(material.valid, model)
    run.finish(_record(run, f"{rung.smoothing.kind} n-gram", scored, model.entries, "grams", found))


def climb_network(
    path: Path, rung: RecurrentRung | TransformerRung, material: Material, *, resume: bool
) -> None:
    """Train a language model on windows of the corpus, measure, keep."""
    shape = rung.model
    if isinstance(shape, ModelConfig):
        shape = with_vocabulary(shape, material.tokenizer)
    else:
        shape = dataclasses.replace(shape, vocab_size=material.tokenizer.vocab_size)
    part = document_parts(material.train.tokens, rung.batch, rung.window, material.seed)
    run, module = _train(
        path, rung, material, lambda: language_model(shape), lambda step: [part(step)], resume
    )
    found = totals(run.path) | save_model(run.path, module, material.tokenizer)
    # A transformer is lost beyond what it was trained on; a recurrent state just goes on.
    is_transformer = isinstance(rung, TransformerRung)
    reach = rung.window if is_transformer else rung.model.context
    name = "transformer" if is_transformer else rung.model.cell
    scored = score(material.valid, token_nats(module, material.valid, reach))
    size = sum(p.numel() for p in module.parameters())
    run.finish(_record(run, name, scored, size, "parameters", found))


def language_model(shape: ModelConfig | RecurrentConfig) -> Transformer | Recurrent:
    """A fresh network of that shape."""
    return Transformer(shape) if isinstance(shape, ModelConfig) else Recurrent(shape)


def climb_seq2seq(
    path: Path,
    rung: Seq2SeqRung,
    material: Material,
    pairs: Sequence[SentencePair],
    *,
    resume: bool,
) -> None:
    """Train a translator on sentence pairs, keep; it is measured beside the others, at the end."""
    shape = dataclasses.replace(rung.model, vocab_size=material.tokenizer.vocab_size)
    batches = pair_parts(pairs, rung, material)
    run, module = _train(path, rung, material, lambda: Seq2Seq(shape), batches, resume)
    found = totals(run.path) | save_model(run.path, module, material.tokenizer)
    run.finish(found | {"size": sum(p.numel() for p in module.parameters())})


def pair_parts(pairs: Sequence[SentencePair], rung: Seq2SeqRung, material: Material) -> Batches:
    """Pairs as steps: every epoch in another order, each pair once; a pure function of the step."""
    sources = material.tokenizer.encode_batch([pair.zh for pair in pairs])
    targets = material.tokenizer.encode_batch([pair.en for pair in pairs])
    rows = [row for row in zip(sources, targets, strict=True) if fits(row, rung.model.context)]

    @lru_cache(maxsize=2)  # a step may reach into the next epoch
    def order(epoch: int) -> np.ndarray:
        return generator(material.seed, "pairs", epoch).permutation(len(rows))

    def batches(step: int) -> Sequence[Part]:
        chosen = []
        for place in range(step * rung.batch, (step + 1) * rung.batch):
            epoch, i = divmod(place, len(rows))
            chosen.append(rows[order(epoch)[i]])
        return [Part([pair_batch(chosen, material.tokenizer)], target_loss)]

    return batches


def fits(row: Row, context: int) -> bool:
    """Whether a translator can read the one and write the other, their marks included."""
    source, target = row
    return 0 < len(source) < context and len(target) + 2 <= context


def pair_batch(rows: Sequence[Row], tokenizer: Tokenizer) -> SourceTarget:
    """Pairs of ids as one batch; each target is opened by `<bos>` and closed by `<eos>`."""
    special, device = tokenizer.special, default_device()
    pairs = [
        (torch.tensor(source), torch.tensor([*target, special.eos])) for source, target in rows
    ]
    marks = Marks(special.pad, special.bos, special.eos, special.mask)
    return SourceTarget(*(rows.to(device) for rows in lay_out(pairs, marks)))


def _train(
    path: Path,
    rung: TrainingRung,
    material: Material,
    make: Callable[[], M],
    batches: Batches,
    resume: bool,
) -> tuple[RunDir, M]:
    """Train a fresh module in a run directory at `path`, or go on with the one that is there."""

    def begin(steps: int) -> tuple[M, Learner]:
        torch.manual_seed(derive(material.seed, "weights"))
        module = make().to(default_device())
        return module, make_learner(module, rung.optimizer, TrainingConfig(), steps)

    if (path / MANIFEST).exists():  # the steps were settled when it was started
        rung = configs.load(type(rung), path / "config.toml")
    elif not rung.steps:
        _, trial = begin(1)
        rung = dataclasses.replace(rung, steps=steps_in(material.seconds, trial, batches))
    run = RunDir.create(path, stage="rung", config=rung, resume=resume)
    module, learner = begin(rung.steps)
    save_every = max(1, rung.steps // _CHECKPOINTS)
    run_training(run, learner, batches, Plan(steps=rung.steps, save_every=save_every))
    return run, module


def steps_in(seconds: float, trial: Learner, batches: Batches) -> int:
    """How many steps fit into `seconds` on this machine, from some that are thrown away.

    The rate's schedule has to know the end, and a clock inside the loop would make each run another
    one: so the time is taken before, and the number of steps is what the run records.
    """
    trial.update(*batches(0))  # the first one also warms up
    times: list[float] = []
    while len(times) < _TRIAL_STEPS or sum(times) < _TRIAL_SHARE * seconds:
        started = time.perf_counter()
        trial.update(*batches(len(times) + 1))
        times.append(time.perf_counter() - started)
    return max(1, int(seconds / statistics.median(times)))


def _record(
    run: RunDir,
    kind: str,
    scored: BitsPerByte,
    size: int,
    unit: str,
    found: dict[str, float | int | str],
) -> dict[str, object]:
    """What the manifest of a rung keeps of it."""
    rung = Rung(
        name=run.path.name,
        kind=kind,
        bits_per_byte=scored.overall.estimate,
        interval=(scored.overall.low, scored.overall.high),
        by_language=scored.by_language,
        seconds=float(found["train_s"]),
        steps=int(found.get("steps", 0)),
        tokens=int(found["tokens"]),
        size=size,
        unit=unit,
    )
    return {**found, "rung": dataclasses.asdict(rung)}
