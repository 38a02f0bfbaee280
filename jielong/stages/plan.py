"""Plan: one dial, time or size, and all settings of a pretraining run follow.

A few seconds of steps say how fast this machine is, the scaling study says what a size and a number
of tokens are worth, and arithmetic does the rest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jielong.core import config as configs
from jielong.core.device import describe_machine
from jielong.core.errors import ConfigError, DataError
from jielong.core.files import write_atomic
from jielong.core.progress import say
from jielong.core.resources import rss_bytes
from jielong.core.run_dir import RunDir, open_run
from jielong.data.prepared import read_lines
from jielong.evaluation.scaling import Study, fresh_worth, shipped
from jielong.model.config import ModelConfig
from jielong.model.sizes import parameters
from jielong.stages.calibrate import Clock, calibrate, step_flops, time_step
from jielong.stages.dial import BATCH, WINDOW, optimizer_of, shape_of
from jielong.stages.forecast import MB, Demand, Prediction, duration, needed_and_limit
from jielong.stages.pretrain import PretrainConfig
from jielong.stages.tokenize import TokenizeConfig, sample
from jielong.tokenizer.bpe import Tokenizer

if TYPE_CHECKING:
    from rich.table import Table

VOCABULARIES = (2048, 4096, 8192, 16384, 32768)
"""Sizes to choose from when the text has no vocabulary yet."""
DEPTHS = range(2, 33)
_CALIBRATION = (2, 3, 5)  # depths whose steps are timed
_CALIBRATION_S, _CHECK_S = 8.0, 8.0  # for these, and for the steps of the model that is chosen
_SAMPLE_MB = 3.0  # of text, to see how long the tokens of a vocabulary are
TOKENS_EACH = 20
"""Tokens for each parameter of a model whose time is not given (arXiv:2203.15556, table 3)."""
BEYOND = 5
"""The law is read up to so many times the largest size, or the most text, that was measured."""
_SHORTEST = 100  # steps: below that the law was not asked, and the warm-up is most of it


@dataclass(frozen=True)
class Text:
    """Prepared text as the planner sees it: its run, its bytes, and how many a token of each
    vocabulary holds; `digest` tells the very text of the scaling study.

    `process_bytes` is the memory that was taken before anything of it was read.
    """

    run: RunDir
    process_bytes: int
    size: int
    bytes_per_token: dict[int, float]
    digest: str

    @property
    def is_tokenized(self) -> bool:
        """Whether the vocabulary is settled."""
        return self.run.manifest["stage"] == "tokenize"


@dataclass(frozen=True)
class Choice:
    """A model of the family, how long it is trained, and what that will take and reach."""

    shape: ModelConfig
    steps: int
    step_s: float
    bytes_per_token: float
    bits_per_byte: float
    passes: float

    @property
    def tokens(self) -> int:
        """All that it reads."""
        return self.steps * BATCH * WINDOW

    @property
    def seconds(self) -> float:
        """All that it takes."""
        return self.steps * self.step_s


def open_text(path: Path) -> Text:
    """The text of a finished tokenize run, or of a prepare run that has no vocabulary yet.

    Raises `ConfigError` for another run, `DataError` for too little text.
    """
    run, process_bytes = open_run(path), rss_bytes()
    stage = run.manifest.get("stage")
    if stage not in ("tokenize", "prepare"):
        raise ConfigError(f"{path}: is a {stage} run: give a tokenize run, or a prepare run")
    if not run.finished:
        raise ConfigError(f"{path}: has not finished: resume it first with --resume")
    if stage == "tokenize":
        train = run.manifest["train"]
        density = {run.manifest["vocab_size"]: train["bytes"] / train["tokens"]}
        return Text(run, process_bytes, train["bytes"], density, train["sha256"])
    file = path / "documents" / "train.jsonl"
    size = sum(len(line.record["text"].encode()) for line in read_lines(file, ("text",)))
    texts = [record["text"] for record in sample(file, min(_SAMPLE_MB, size / MB))]
    found = dict(densities(texts, VOCABULARIES))
    if not found:
        raise DataError(
            f"{path}: too little text to choose a vocabulary by (the smallest has "
            f"{VOCABULARIES[0]} entries): tokenize it with fewer, and plan with that run"
        )
    return Text(run, process_bytes, size, found, "")


def densities(texts: Sequence[str], sizes: Iterable[int]) -> Iterable[tuple[int, float]]:
    """Bytes a token holds on average in vocabularies of these sizes, learned from every other text
    and counted on the rest; text that is too little for a vocabulary leaves it out."""
    learned, counted = texts[::2], texts[1::2] or texts
    size = sum(len(text.encode()) for text in counted)
    for entries in sizes:
        tokenizer = Tokenizer.train(learned, entries)
        if tokenizer.vocab_size == entries:
            yield entries, size / sum(map(len, tokenizer.encode_batch(list(counted))))


def judge(shape: ModelConfig, steps: int, step_s: float, text: Text, study: Study) -> Choice:
    """What a model trained for so many steps reaches by the law of the study."""
    density = text.bytes_per_token[shape.vocab_size]
    read = steps * BATCH * WINDOW * density
    loss = study.law.loss(parameters(shape).inner, fresh_worth(read, text.size))
    return Choice(shape, steps, step_s, density, loss, read / text.size)


def within(seconds: float, clock: Clock, text: Text, study: Study) -> Choice:
    """The model that reaches most in so much time; raises `ConfigError` when none gets anywhere."""
    choices = []
    for vocab_size in text.bytes_per_token:
        for depth in DEPTHS:
            shape = shape_of(depth, vocab_size)
            step_s = clock.seconds(shape)
            steps = int(seconds / step_s)
            if steps >= _SHORTEST:
                choices.append(judge(shape, steps, step_s, text, study))
    if not choices:
        raise ConfigError(
            f"minutes: {seconds / 60:g}: not enough for {_SHORTEST} steps of the smallest model "
            "on this machine: give more"
        )
    return min(choices, key=lambda choice: choice.bits_per_byte)


def sized(count: int, clock: Clock, text: Text, study: Study) -> Choice:
    """The model nearest to so many parameters, trained on the tokens that suit it."""
    shapes = [
        shape_of(depth, vocab_size) for vocab_size in text.bytes_per_token for depth in DEPTHS
    ]
    shape = min(shapes, key=lambda shape: abs(parameters(shape).total - count))
    if not 0.5 < parameters(shape).total / count < 2:
        sizes = [parameters(shape).total for shape in shapes]
        raise ConfigError(
            f"parameters: {count}: the planner's models have {min(sizes):,} to {max(sizes):,}: "
            "give a number in between"
        )
    steps = math.ceil(TOKENS_EACH * parameters(shape).total / (BATCH * WINDOW))
    return judge(shape, steps, clock.seconds(shape), text, study)


def make(text: Text, minutes: float | None, count: int | None) -> Choice:
    """Calibrate, choose, and time the choice itself; with both given, that size for that time.

    Raises `ConfigError` for a budget that is none, and for a model that does not fit in memory.
    """
    for name, value in (("minutes", minutes), ("parameters", count)):
        if value is not None and not value > 0:
            raise ConfigError(f"{name}: {value}: must be above 0")
    study = shipped()
    say("measuring how fast this machine trains")
    smallest = min(text.bytes_per_token)
    clock = calibrate([shape_of(depth, smallest) for depth in _CALIBRATION], _CALIBRATION_S)
    if count is not None:
        choice = sized(count, clock, text, study)
    else:
        assert minutes is not None, "the command line asks for one of the two"
        choice = within(60 * minutes, clock, text, study)
    refuse_too_large(choice, text)
    step_s = choice.step_s
    if 4 * step_s <= _CHECK_S:  # the line was put through other shapes; this one's own steps know
        step_s = time_step(choice.shape, _CHECK_S)
    steps = choice.steps if minutes is None else int(60 * minutes / step_s)
    return judge(choice.shape, max(1, steps), step_s, text, study)


def refuse_too_large(choice: Choice, text: Text) -> None:
    """Raise `ConfigError` for a model that this machine has not the memory to train."""
    needed, limit = memory(choice, text)
    if needed > limit:
        raise ConfigError(
            f"parameters: {parameters(choice.shape).total}: training them needs about "
            f"{needed / 1e9:.1f} GB of memory, and there are {limit / 1e9:.1f} GB: ask for less"
        )


def memory(choice: Choice, text: Text) -> tuple[int, int]:
    """Bytes that training the choice needs, and bytes that are there."""
    optimizer = optimizer_of(choice.shape.width)
    demand = Demand(shape=choice.shape, optimizer=optimizer, tokens=BATCH * WINDOW)
    return needed_and_limit(demand, text.process_bytes)


def recipe(choice: Choice, text: Text, data: str, run_dir: str) -> PretrainConfig:
    """The choice as the recipe of a pretraining run, with its prediction."""
    shape = choice.shape
    optimizer = optimizer_of(shape.width)
    needed, _ = memory(choice, text)
    machine = describe_machine()
    return PretrainConfig(
        run_dir=run_dir,
        data=data,
        steps=choice.steps,
        batch=BATCH,
        window=WINDOW,
        model=replace(shape, vocab_size=0),
        optimizer=optimizer,
        prediction=Prediction(
            machine=f"{machine['processor']}, {machine['cores']} threads",
            seconds=round(choice.seconds, 1),
            memory_mb=round(needed / MB),
            bits_per_byte=round(choice.bits_per_byte, 4),
        ),
    )


def write(choice: Choice, text: Text, out: Path) -> list[str]:
    """Write the recipe to `out`; returns the commands that run it.

    Text without a vocabulary gets a recipe for that too, `NAME-tokenize.toml` beside it.
    """
    run_dir = Path("runs") / out.stem
    commands = [f"jielong pretrain {out}"]
    data = text.run.path
    if not text.is_tokenized:
        before, data = out.with_name(f"{out.stem}-tokenize.toml"), Path(f"{run_dir}-tokenize")
        config = TokenizeConfig(
            run_dir=str(data), documents=str(text.run.path), vocab_size=choice.shape.vocab_size
        )
        write_atomic(before, configs.dumps(config))
        commands.insert(0, f"jielong tokenize {before}")
    write_atomic(out, configs.dumps(recipe(choice, text, str(data), str(run_dir))))
    return commands


def table(choice: Choice, text: Text) -> Table:
    """The plan for a person: what is chosen, and what is predicted."""
    from rich.table import Table

    found = Table(title="plan", show_header=False)
    for name, value in rows(choice, text):
        found.add_row(name, value)
    return found


def rows(choice: Choice, text: Text) -> list[tuple[str, Any]]:
    """The lines of the plan."""
    shape, counted = choice.shape, parameters(choice.shape)
    made = recipe(choice, text, "", "")
    assert made.prediction is not None
    flops = step_flops(shape)
    return [
        ("depth, width", f"{shape.n_layer} layers of {shape.width}, {shape.n_head} heads"),
        ("feed-forward", f"{shape.ffn_width}"),
        ("vocabulary", f"{shape.vocab_size:,} ({choice.bytes_per_token:.2f} bytes a token)"),
        ("parameters", f"{counted.total:,}, of them {counted.inner:,} inside the blocks"),
        ("tokens", f"{choice.tokens:,}: {choice.passes:.2f} passes over {text.size / MB:.1f} MB"),
        ("batch, window", f"{made.batch} windows of {made.window} tokens"),
        ("steps", f"{choice.steps:,}"),
        ("rates", f"{made.optimizer.lr:g} (AdamW), {made.optimizer.muon_lr:g} (Muon)"),
        (
            "computing",
            f"{flops * choice.steps / 1e12:,.1f} TFLOP at "
            f"{flops / choice.step_s / 1e9:.0f} GFLOP/s",
        ),
        ("time", f"{duration(choice.seconds)}, {1000 * choice.step_s:.0f} ms a step"),
        ("memory", f"{made.prediction.memory_mb / 1000:.2f} GB"),
        ("held-out loss", f"{choice.bits_per_byte:.3f} bits per byte{caution(choice, text)}"),
    ]


def caution(choice: Choice, text: Text) -> str:
    """What makes the predicted loss less sure, if anything."""
    study = shipped()
    sizes, read, _ = zip(*study.points, strict=True)
    doubts = []
    if text.digest != study.corpus:
        doubts.append("the law was measured on the quickstart's text")
    if choice.shape.vocab_size != study.vocab_size:
        doubts.append(f"with a vocabulary of {study.vocab_size:,}")
    if parameters(choice.shape).inner > BEYOND * max(sizes):
        doubts.append(f"on models of up to {max(sizes):,.0f} inner parameters")
    if choice.tokens * choice.bytes_per_token > BEYOND * max(read):
        doubts.append(f"up to {max(read) / MB:.0f} MB read")
    return f" (a guess: {', '.join(doubts)})" if doubts else ""
