"""Each objective through the stage: learned from, resumed bit for bit, and asked afterwards."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from jielong.core import config as configs
from jielong.core.errors import ConfigError
from jielong.core.run_dir import RunDir, open_run, read_lines, read_metrics
from jielong.data.shards import Shard
from jielong.evaluation.filling import fill
from jielong.generation.engine import generate
from jielong.generation.loading import load_assistant, load_trained
from jielong.generation.sampling import Sampling
from jielong.model.config import ModelConfig
from jielong.stages import pretrain
from jielong.stages.lessons import CorruptionConfig
from jielong.stages.samples import SampleConfig
from jielong.training.checkpoint import checkpoints, latest, load_weights
from jielong.training.optimizers import OptimizerConfig
from jielong.training.plan import LoopConfig
from jielong.training.settings import TrainingConfig
from tests.tiny import config, tokenizer

KINDS: dict[str, dict] = {
    "causal": {},
    "masked": {"objective": "masked"},
    "whole_words": {"objective": "masked", "corruption": CorruptionConfig(whole_words=True)},
    "prefix": {"objective": "prefix"},
    "first_part": {"objective": "encoder_decoder"},
    "spans": {"objective": "encoder_decoder", "corruption": CorruptionConfig(source="spans")},
}
TEXT = "春天来了,人们说春风化雨;雨过天晴,the fox jumps over the lazy dog.\n"


@dataclass(frozen=True, kw_only=True)
class Config:
    seed: int = 0


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text that repeats itself, so that there is much to learn."""
    run = RunDir.create(
        tmp_path_factory.mktemp("data") / "tokenize", stage="tokenize", config=Config()
    )
    tokenizer().save(run.path)
    ids = np.array(tokenizer().encode(TEXT) * 60, dtype=np.uint16)
    ids = np.insert(ids, np.arange(0, len(ids), 500), 1)
    for name, part in (("train", ids), ("valid", ids[:1500])):
        shard = Shard(part, np.array([0]), np.array(["zh"]), np.array([4000]))
        shard.save(run.path / f"{name}.npz")
    run.finish()
    return run.path


def recipe(data: Path, run_dir: Path, **changes: object) -> pretrain.PretrainConfig:
    model = config(vocab_size=0, context=48, n_layer=1, dropout=0.1)
    settings: dict = {
        "run_dir": str(run_dir),
        "data": str(data),
        "steps": 7,
        "batch": 4,
        "window": 40,
        "save_every": 3,
        "model": model,
        "optimizer": OptimizerConfig(lr=1e-2, kind="muon", decay_share=0.6),
    }
    return pretrain.PretrainConfig(**settings | changes)


def cut_at_line(monkeypatch: pytest.MonkeyPatch, number: int, config: object) -> None:
    """Run until the log's line of that number, as if the power had failed."""
    log, seen = RunDir.log, []

    def cut(self: RunDir, metrics: dict) -> None:
        seen.append(metrics)
        if len(seen) == number:
            raise RuntimeError("power")
        log(self, metrics)

    with monkeypatch.context() as patch:
        patch.setattr(RunDir, "log", cut)
        with pytest.raises(RuntimeError, match="power"):
            pretrain.run(config)


@pytest.mark.invariance
@pytest.mark.parametrize("kind", KINDS)
def test_C1_a_resumed_run_is_the_straight_run(
    kind: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With dropout, cut between two checkpoints."""
    straight = pretrain.run(recipe(data, tmp_path / "straight", **KINDS[kind]))
    broken = recipe(data, tmp_path / "broken", **KINDS[kind])
    cut_at_line(monkeypatch, 6, broken)
    torch.rand(5)
    np.random.default_rng().random()
    resumed = pretrain.run(broken, resume=True)
    ends = [{f.name: f.read_bytes() for f in latest(run).iterdir()} for run in (straight, resumed)]
    assert ends[0] == ends[1]
    weights = [(run / "model" / "model.safetensors").read_bytes() for run in (straight, resumed)]
    assert weights[0] == weights[1]


@pytest.mark.invariance
@pytest.mark.parametrize("kind", ["causal", "first_part"])
def test_a_run_that_is_watched_is_the_run_that_is_not(
    kind: str, data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Samples, held-out losses and many checkpoints, with dropout: the same bytes in the end.

    An average of the weights is kept, and stands in for them while the loss is measured.
    """
    kinds = {"training": TrainingConfig(ema_decay=0.9), **KINDS[kind]}
    plain = pretrain.run(recipe(data, tmp_path / "plain", **kinds))
    samples = SampleConfig(every=2, prompts=("春天", "the"), tokens=5, temperature=1.0)
    changes = {"samples": samples, "keep_best": True, "save_every": 2}
    watched = pretrain.run(recipe(data, tmp_path / "watched", **kinds, **changes))
    ends = [load_weights(latest(run)) for run in (plain, watched)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    generators = [(latest(run) / "training.safetensors").read_bytes() for run in (plain, watched)]
    assert generators[0] == generators[1]
    lines = read_lines(watched / "samples.jsonl")
    assert [(line["step"], line["prompt"]) for line in lines] == [
        (step, prompt) for step in (2, 4, 6) for prompt in ("春天", "the")
    ]
    assert all(line["text"] for line in lines)
    assert "step 6: 春天" in capfd.readouterr().err


def test_the_best_on_what_is_held_out_is_the_model(data: Path, tmp_path: Path) -> None:
    """The rate is far too high for the first weights to be passed by later ones by chance."""
    optimizer = OptimizerConfig(lr=3.0)
    loop = LoopConfig(keep_last=1)
    changes = {"keep_best": True, "save_every": 1, "optimizer": optimizer, "loop": loop}
    run = pretrain.run(recipe(data, tmp_path / "run", **changes))
    losses = {m["step"]: m["held_out_loss"] for m in read_metrics(run)}
    assert list(losses) == [1, 2, 3, 4, 5, 6, 7]
    step = min(losses, key=lambda step: losses[step])
    assert step < 7
    name = f"step-{step:06d}"
    assert open_run(run).manifest["best_checkpoint"] == name
    assert [path.name for path in checkpoints(run)] == [name, "step-000007"]
    model = load_assistant(run).model.state_dict()
    best = load_weights(run / "checkpoints" / name)
    assert all(torch.equal(model[key], best[key]) for key in best)


@pytest.mark.invariance
def test_samples_of_steps_made_again_are_written_once(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = SampleConfig(every=1, prompts=("春天",), tokens=3)
    straight = pretrain.run(recipe(data, tmp_path / "straight", samples=samples))
    broken = recipe(data, tmp_path / "broken", samples=samples)
    cut_at_line(monkeypatch, 6, broken)
    resumed = pretrain.run(broken, resume=True)
    texts = [(run / "samples.jsonl").read_text() for run in (straight, resumed)]
    assert texts[0] == texts[1]


def test_how_a_run_is_kept_and_watched_may_change(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_at_line(monkeypatch, 6, recipe(data, tmp_path / "run"))
    loop = LoopConfig(keep_last=9)
    run = pretrain.run(recipe(data, tmp_path / "run", loop=loop), resume="step-000003")
    assert [path.name for path in checkpoints(run)][-2:] == ["step-000006", "step-000007"]


@pytest.mark.parametrize("kind", ["masked", "prefix", "first_part", "spans"])
def test_it_learns_and_is_asked_in_its_own_way(kind: str, data: Path, tmp_path: Path) -> None:
    changes = {"steps": 250, "batch": 8, "save_every": 1000, **KINDS[kind]}
    shape = config(vocab_size=0, context=48, n_layer=2, width=48)
    run = pretrain.run(recipe(data, tmp_path / "run", model=shape, **changes))
    losses = [metrics["loss"] for metrics in read_metrics(run)]
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:3])
    trained = load_trained(run, KINDS[kind]["objective"])
    with pytest.raises(ConfigError) as refused:
        load_assistant(run)
    if kind == "masked":
        found = fill(trained, "人们说春风化雨;雨过天[MASK],the fox jumps", 1)
        assert found[0].text == "晴"
        assert "which fills gaps: ask it with jielong evaluate --fill; this" in str(refused.value)
        return
    assert "which continues texts: ask it with jielong generate; this" in str(refused.value)
    prompt = [1, *tokenizer().encode("春天来了,人们说春风化雨;雨过")]
    (answer,) = generate(trained, [prompt], Sampling(strategy="greedy", max_tokens=6))
    assert answer.text
    if kind != "spans":
        assert "晴,t" in answer.text


@pytest.mark.parametrize("kind", KINDS)
def test_each_objective_can_be_taught_in_pieces(kind: str, data: Path, tmp_path: Path) -> None:
    """A row at a time, with activations computed twice: the same run but for rounding."""
    optimizer = OptimizerConfig(lr=1e-2)
    model = config(vocab_size=0, context=48, n_layer=1)
    whole = recipe(data, tmp_path / "a", **KINDS[kind], model=model, optimizer=optimizer)
    training = TrainingConfig(micro_batch=1, activation_checkpointing=True)
    pieces = dataclasses.replace(whole, run_dir=str(tmp_path / "b"), training=training)
    losses = [[m["loss"] for m in read_metrics(pretrain.run(each))] for each in (whole, pieces)]
    assert losses[1] == pytest.approx(losses[0], rel=2e-4)


def test_the_average_is_what_is_saved(data: Path, tmp_path: Path) -> None:
    """And the checkpoint keeps both, for training goes on from the last weights."""
    run = pretrain.run(recipe(data, tmp_path / "run", training=TrainingConfig(ema_decay=0.9)))
    saved = load_file(run / "model" / "model.safetensors")
    last = load_file(latest(run) / "model.safetensors")
    kept = load_file(latest(run) / "training.safetensors")
    for name, weight in saved.items():
        assert torch.equal(weight, kept[f"learner.average.{name}"])
        assert not torch.equal(weight, last[name])
    assert kept["learner.average.updates"] == 7
    assert load_assistant(run).model.config.n_layer == 1
    assert open_run(run).finished


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.precision=bf16", "training.precision: 'bf16': a CPU trains in 'fp32'"),
        ("training.precision=fp8", "training.precision: 'fp8': choose one of 'fp32', 'bf16'"),
        ("training.ema_decay=1.0", "training.ema_decay: 1.0: must be at least 0 and below 1"),
        ("training.ema_dcay=0.9", "training.ema_dcay: no such setting; did you mean 'ema_decay'"),
        ("optimizer.kind=lion", "optimizer.kind: 'lion': choose one of 'sgd', 'momentum'"),
        ("optimizer.schedule=exp", "optimizer.schedule: 'exp': choose one of 'wsd', 'linear'"),
        ("optimizer.beta1=1.0", "optimizer.beta1: 1.0: must be at least 0 and below 1"),
    ],
)
def test_a_recipe_asks_for_what_there_is(
    override: str, message: str, data: Path, tmp_path: Path
) -> None:
    written = tmp_path / "recipe.toml"
    written.write_text(configs.dumps(recipe(data, tmp_path / "run")), encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        pretrain.run(configs.load(pretrain.PretrainConfig, written, [override]))
    assert not (tmp_path / "run").exists()
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_the_objective_tells_the_model(data: Path, tmp_path: Path) -> None:
    for objective in ("causal", "masked", "prefix", "encoder_decoder"):
        made = recipe(data, tmp_path, objective=objective)
        assert made.model.objective == "causal"
        shape = made.shape(tokenizer())
        assert (shape.objective, shape.vocab_size) == (objective, tokenizer().vocab_size)
        assert shape.bidirectional == (objective == "masked")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window": 49}, "window: 49: exceeds model.context 48"),
        ({"window": 1}, "window: 1: must be at least 2"),
        ({"objective": "mask"}, "objective: 'mask': choose one of 'causal', 'masked'"),
        ({"model": {"bidirectional": True}}, "model.bidirectional: true: with the objective 'ca"),
        ({"model": {"objective": "prefix"}}, "model.objective: 'prefix': leave it out"),
        (
            {"objective": "masked", "model": {"attention": "strided:4"}},
            "model.attention: 'strided:4': a model that reads both ways takes dense only",
        ),
        (
            {
                "objective": "encoder_decoder",
                "corruption": {"share": 0.8, "source": "spans", "span_length": 1.0},
                "window": 48,
            },
            "window: 48: with its masks needs 49 tokens, which exceeds model.context 48",
        ),
        ({"objective": "masked", "samples": {"every": 1}}, "samples.every: a masked model continu"),
        ({"samples": {"every": -1}}, "samples.every: -1: must not be negative"),
        ({"samples": {"every": 1, "prompts": []}}, "samples.prompts: empty: give at least one"),
        ({"loop": {"keep_last": 0}}, "loop.keep_last: 0: must be above 0"),
        ({"loop": {"tracking": {"to": ["mlflow"]}}}, "loop.tracking.to[0]: 'mlflow': choose one"),
        ({"corruption": {"share": 0.0}}, "corruption.share: 0.0: must lie between 0 and 1"),
        ({"corruption": {"span_length": 0.5}}, "corruption.span_length: 0.5: must be at least 1"),
    ],
)
def test_what_cannot_be_trained_is_refused(changes: dict, message: str, tmp_path: Path) -> None:
    values = configs.to_dict(recipe(tmp_path, tmp_path))
    for name, value in changes.items():
        values[name] = values[name] | value if isinstance(value, dict) else value
    with pytest.raises(ConfigError) as caught:
        configs.parse(pretrain.PretrainConfig, values)
    assert str(caught.value).startswith(message)


def test_an_old_models_file_is_a_causal_one() -> None:
    assert ModelConfig(
        context=8, n_layer=1, width=8, n_head=2, n_kv_head=2, ffn_width=8
    ).objective == ("causal")


def test_the_tokenizer_tells_which_tokens_open_a_turn() -> None:
    """Only a model with vectors for turns keeps them, and those that a recipe names stay."""
    special = tokenizer().special
    opening = (special.user, special.assistant, special.system)
    for changes, expected in (
        ({}, ()),
        ({"segments": 2}, opening),
        ({"segments": 2, "turn_ids": (7,)}, (7,)),
    ):
        told = pretrain.with_vocabulary(config(vocab_size=0, **changes), tokenizer())
        assert (told.turn_ids, told.vocab_size) == (expected, tokenizer().vocab_size)


COMPILED = {"compile": True, "model": config(vocab_size=0, context=48)}


@pytest.mark.parametrize(
    "changes",
    [
        {"objective": "prefix"},
        {"objective": "encoder_decoder"},
        {"model": config(vocab_size=0, context=48, attention="sliding:4 dense")},
        {"model": config(vocab_size=0, context=48, dropout=0.1)},
    ],
)
def test_only_plain_blocks_are_compiled(changes: dict, tmp_path: Path) -> None:
    assert recipe(tmp_path, tmp_path / "run", **COMPILED).compile
    with pytest.raises(ValueError, match="compile: true: is for blocks without dropout"):
        recipe(tmp_path, tmp_path / "run", **COMPILED | changes)


def test_blocks_in_parts_are_not_compiled(tmp_path: Path) -> None:
    parts = {"training": TrainingConfig(parallel="fsdp")}
    with pytest.raises(ValueError, match="compile: true: is not for weights that processes hold"):
        recipe(tmp_path, tmp_path / "run", **COMPILED | parts)
