"""A plan: the dial, the clock, the choice, and a recipe that runs as it is."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from jielong import cli
from jielong.core import config as configs
from jielong.core.errors import ConfigError, DataError
from jielong.core.recipes import recipe_path
from jielong.core.run_dir import RunDir, open_run
from jielong.data.shards import Shard
from jielong.evaluation.scaling import Law, Study
from jielong.model.sizes import memory, parameters
from jielong.stages import forecast, plan, pretrain
from jielong.stages.calibrate import Clock, fit_clock, step_flops, time_step
from jielong.stages.dial import BATCH, WINDOW, optimizer_of, shape_of
from jielong.stages.tokenize import TokenizeConfig
from jielong.tokenizer.bpe import Tokenizer
from jielong.training.settings import TrainingConfig
from tests.tiny import TEXTS, tokenizer

LAW = Law(size=50.0, size_exponent=0.5, text=500.0, exponent=0.15)
STUDY = Study(
    measured="by hand",
    corpus="same",
    corpus_bytes=8_000_000,
    vocab_size=4096,
    law=LAW,
    points=((2e5, 1e6, 2.0), (4e6, 4e6, 1.5)),
)


@dataclass(frozen=True, kw_only=True)
class Config:
    seed: int = 0


def text(sizes: dict[int, float] | None = None, size: int = 8_000_000) -> plan.Text:
    run = RunDir(Path("runs/tokenize"), {"stage": "tokenize"})
    return plan.Text(run, 0, size, sizes or {4096: 3.0}, "same")


@pytest.fixture
def tokenized(tmp_path: Path) -> Path:
    """A tokenize run of a text that repeats itself."""
    run = RunDir.create(tmp_path / "tokenize", stage="tokenize", config=Config())
    tokenizer().save(run.path)
    ids = np.array(tokenizer().encode("".join(TEXTS)) * 60, dtype=np.uint16)
    shard = Shard(ids, np.array([0]), np.array(["zh"]), np.array([20_000]))
    shard.save(run.path / "train.npz")
    shape = {"bytes": 20_000, "tokens": len(ids), "sha256": "another"}
    run.finish({"train": shape, "vocab_size": tokenizer().vocab_size})
    return run.path


def test_depth_four_is_the_small_recipes_model() -> None:
    small = configs.load(pretrain.PretrainConfig, recipe_path("small/pretrain"))
    assert shape_of(4) == small.model
    assert (small.batch, small.window) == (BATCH, WINDOW)
    assert optimizer_of(160) == small.optimizer


def test_the_dial_is_steady() -> None:
    shapes = [shape_of(depth, 4096) for depth in plan.DEPTHS]
    counts = [parameters(shape).inner for shape in shapes]
    assert counts == sorted(counts)
    assert all(shape.ffn_width % 32 == 0 for shape in shapes)
    assert optimizer_of(640).lr == pytest.approx(1.2e-2 / 2)
    assert optimizer_of(640).muon_lr == optimizer_of(64).muon_lr


def test_a_line_through_steps_by_hand() -> None:
    """2 s fixed and 3 s for each unit; and a line that would begin below nothing starts at it."""
    clock = fit_clock([1.0, 2.0, 4.0], [5.0, 8.0, 14.0])
    assert (clock.fixed, clock.per_flop) == (pytest.approx(2.0), pytest.approx(3.0))
    steep = fit_clock([1.0, 2.0], [1.0, 3.0])
    assert steep.fixed == 0.0
    assert steep.per_flop == pytest.approx((1 + 2 / 3) / (1 + 4 / 9))


def test_a_step_of_twice_the_flops_takes_longer() -> None:
    small, large = shape_of(1, 300), shape_of(3, 300)
    assert step_flops(large) > 5 * step_flops(small)
    assert 0 < time_step(small, 0.01) < time_step(large, 0.01)


@pytest.mark.parametrize("size", [1.0, 50.0])
def test_within_a_time_no_other_member_is_better(size: float) -> None:
    clock, seconds = Clock(0.01, 1e-11), 600.0
    study = replace(STUDY, law=replace(LAW, size=size))
    found = plan.within(seconds, clock, text(), study)
    assert found.seconds <= seconds < found.seconds + found.step_s
    losses = []
    for depth in plan.DEPTHS:
        shape = shape_of(depth, 4096)
        steps = int(seconds / (0.01 + 1e-11 * step_flops(shape)))
        read = steps * BATCH * WINDOW * 3.0
        worth = min(read, 8e6 * (1 + 15.39 * (1 - np.exp(-max(0.0, read / 8e6 - 1) / 15.39))))
        if steps >= 100:
            losses.append(study.law.loss(parameters(shape).inner, worth))
    assert found.bits_per_byte == pytest.approx(min(losses), rel=1e-12)


def test_more_time_gives_a_larger_model_and_a_better_one() -> None:
    clock = Clock(0.01, 1e-11)
    found = [plan.within(60.0 * minutes, clock, text(), STUDY) for minutes in (5, 15, 60, 600)]
    depths = [choice.shape.n_layer for choice in found]
    losses = [choice.bits_per_byte for choice in found]
    assert depths == sorted(depths)
    assert depths[0] < depths[-1]
    assert losses == sorted(losses, reverse=True)


def test_a_vocabulary_is_chosen_where_none_is_settled() -> None:
    """Tokens that hold more bytes for the same work win; those of too dear a vocabulary lose."""
    clock = Clock(0.01, 1e-11)
    found = plan.within(600.0, clock, text({2048: 2.0, 4096: 3.0, 32768: 3.1}), STUDY)
    assert found.shape.vocab_size == 4096


def test_a_number_of_parameters_finds_the_nearest() -> None:
    clock = Clock(0.01, 1e-11)
    found = plan.sized(parameters(shape_of(5, 4096)).total + 1000, clock, text(), STUDY)
    assert found.shape == shape_of(5, 4096)
    assert found.tokens == pytest.approx(20 * parameters(found.shape).total, abs=BATCH * WINDOW)
    with pytest.raises(ConfigError, match=r"parameters: 1000000000000: the planner's models have"):
        plan.sized(10**12, clock, text(), STUDY)


def test_too_little_time_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"minutes: 0\.05: not enough for 100 steps"):
        plan.within(3.0, Clock(1.0, 1e-11), text(), STUDY)


def test_a_plan_is_written_and_runs_as_it_is(
    tokenized: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plan, "_CALIBRATION_S", 0.1)
    monkeypatch.setattr(plan, "_CHECK_S", 5.0)
    monkeypatch.setattr(plan, "DEPTHS", range(1, 3))
    monkeypatch.setattr(plan, "_CALIBRATION", (1, 2))
    command = ["plan", str(tokenized), "--minutes", "0.1", "--out", "small.toml"]
    monkeypatch.setattr(plan, "_SHORTEST", 1)
    assert cli.main(command) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1] == "jielong pretrain small.toml"
    for line in ("depth, width", "held-out loss", "memory", "a guess"):
        assert line in printed
    made = configs.load(pretrain.PretrainConfig, Path("small.toml"))
    assert made.prediction is not None
    assert made.prediction.seconds == pytest.approx(6.0, rel=0.5)
    assert cli.main(["pretrain", "small.toml"]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert said.startswith("predicted: ")
    assert f"{made.prediction.bits_per_byte:.3f} bits per byte of held-out text" in said
    assert open_run(tmp_path / "runs" / "small").finished


def word(number: int) -> str:
    """Four letters that no other number has."""
    return "".join(chr(97 + number * 7919 // 26**place % 26) for place in range(4)) + " "


def prepared(path: Path, documents: int) -> Path:
    """A prepare run whose words are drawn at random."""
    random = np.random.default_rng(0)
    run = RunDir.create(path, stage="prepare", config=Config())
    (run.path / "documents").mkdir()
    lines = []
    for number in range(documents):
        words = (word(int(n)) if n % 3 else chr(0x4E00 + n) for n in random.integers(1, 3000, 200))
        lines.append({"id": str(number), "text": "".join(words), "lang": "zh", "source": "x"})
    file = run.path / "documents" / "train.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    run.finish({"bytes": sum(len(line["text"].encode()) for line in lines)})
    return run.path


def test_text_without_a_vocabulary_gets_two_recipes(tmp_path: Path) -> None:
    path = prepared(tmp_path / "prepare", 200)
    found = plan.open_text(path)
    assert found.size == open_run(path).manifest["bytes"]
    assert not found.is_tokenized
    assert min(found.bytes_per_token) == 2048
    densities = list(found.bytes_per_token.values())
    assert densities == sorted(densities)
    choice = plan.judge(shape_of(2, 2048), 10, 0.1, found, STUDY)
    commands = plan.write(choice, found, tmp_path / "out.toml")
    assert commands == [
        f"jielong tokenize {tmp_path / 'out-tokenize.toml'}",
        f"jielong pretrain {tmp_path / 'out.toml'}",
    ]
    before = configs.load(TokenizeConfig, tmp_path / "out-tokenize.toml")
    after = configs.load(pretrain.PretrainConfig, tmp_path / "out.toml")
    assert (before.vocab_size, before.documents) == (2048, str(path))
    assert after.data == before.run_dir
    assert after.steps == 10


def test_too_little_text_for_a_vocabulary_is_refused(tmp_path: Path) -> None:
    path = prepared(tmp_path / "prepare", 2)
    with pytest.raises(DataError, match="too little text to choose a vocabulary by"):
        plan.open_text(path)


def test_a_token_of_a_larger_vocabulary_holds_more() -> None:
    texts = [
        f"the cat number {i} sat on the {'mat' if i % 2 else 'old sofa'} " * 9 for i in range(40)
    ]
    counted = dict(plan.densities(texts, (263, 280, 100_000)))
    assert set(counted) == {263, 280}
    size = sum(len(t.encode()) for t in texts[1::2])
    ids = Tokenizer.train(texts[::2], 280).encode_batch(texts[1::2])
    assert counted[280] == size / sum(len(row) for row in ids)
    assert 1 <= counted[263] < counted[280]


@pytest.mark.parametrize(
    ("stage", "finished", "message"),
    [
        ("sft", True, "is a sft run: give a tokenize run, or a prepare run"),
        ("prepare", False, "has not finished: resume it first"),
    ],
)
def test_other_runs_are_refused(tmp_path: Path, stage: str, finished: bool, message: str) -> None:
    run = RunDir.create(tmp_path / "run", stage=stage, config=Config())
    if finished:
        run.finish()
    with pytest.raises(ConfigError, match=message):
        plan.open_text(run.path)


def test_what_cannot_fit_is_refused_before_it_starts(
    tokenized: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model of a terabyte: nothing is built, and no run directory appears."""
    run_dir = tmp_path / "run"
    config = pretrain.PretrainConfig(
        run_dir=str(run_dir),
        data=str(tokenized),
        steps=1,
        batch=8,
        model=replace(shape_of(200), n_layer=400),
        optimizer=optimizer_of(6432),
    )
    with pytest.raises(ConfigError) as refused:
        pretrain.run(config)
    assert re.fullmatch(
        r"model: training it needs about \d+\.\d GB of memory for 2048 tokens at a time, "
        r"and there are \d+\.\d GB: set training.micro_batch, or "
        r"make batch, window or the model smaller",
        str(refused.value),
    )
    assert not run_dir.exists()
    huge = plan.judge(shape_of(400, 4096), 1, 1.0, text(), STUDY)
    with pytest.raises(ConfigError, match="training them needs about"):
        plan.refuse_too_large(huge, text())


@pytest.mark.parametrize(
    "settings",
    ["", "micro_batch=2", "activation_checkpointing=True", "ema_decay=0.9"],
)
def test_memory_is_what_training_takes(run_alone: Callable[[str], str], settings: str) -> None:
    """The peak of a process that makes two steps, against the forecast of it."""
    found = run_alone(
        f"""
import torch
from jielong.core.resources import peak_rss_bytes, rss_bytes
from jielong.stages.calibrate import time_step
from jielong.stages.dial import BATCH, WINDOW, optimizer_of, shape_of
from jielong.stages.forecast import Demand, training_bytes
from jielong.training.settings import TrainingConfig
torch.set_num_threads(1)
shape, before = shape_of(4, 2048), rss_bytes()
training = TrainingConfig({settings})
time_step(shape, 0.0, training)
demand = Demand.of(shape, optimizer_of(160), training, BATCH, WINDOW)
print(before + training_bytes(demand), peak_rss_bytes())
"""
    )
    predicted, measured = map(int, found.split())
    assert predicted == pytest.approx(measured, rel=0.15)


def test_what_a_setting_saves_is_counted() -> None:
    def demand(**settings: Any) -> forecast.Demand:
        training = TrainingConfig(**settings)
        return forecast.Demand.of(shape_of(6, 2048), optimizer_of(224), training, BATCH, WINDOW)

    plain = forecast.training_bytes(demand())
    tokens = [demand(micro_batch=rows).tokens for rows in (0, 2, 100)]
    assert tokens == [BATCH * WINDOW, 2 * WINDOW, BATCH * WINDOW]
    weights = 4 * parameters(shape_of(6, 2048)).total
    assert forecast.training_bytes(demand(ema_decay=0.9)) == plain + weights
    kept = 0.74 * BATCH * WINDOW * memory(shape_of(6, 2048)).activations
    saved = plain - forecast.training_bytes(demand(activation_checkpointing=True))
    assert 0.6 * kept < saved < 0.85 * kept


def test_durations_are_read_at_a_glance() -> None:
    assert [forecast.duration(s) for s in (5.4, 89.0, 90.0, 852.0, 5400.0)] == [
        "5 s",
        "89 s",
        "1.5 min",
        "14.2 min",
        "1.5 h",
    ]


def test_a_prediction_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="seconds: 0: must be above 0"):
        forecast.Prediction(machine="x", seconds=0, memory_mb=1, bits_per_byte=1)


def test_the_command_asks_for_a_budget(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["plan", "runs/tokenize"])
    assert stopped.value.code == 2
    assert "give --minutes N or --parameters N" in capsys.readouterr().err
    assert torch.get_num_threads() == 1
