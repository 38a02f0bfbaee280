"""The ladder's own promises: names, the clock, steps as pure functions, rungs that are kept."""

import json
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from jielong.baselines.seq2seq import Seq2SeqConfig
from jielong.core import config as configs
from jielong.core.errors import ConfigError, JielongError
from jielong.core.run_dir import open_run
from jielong.data.sentence_pairs import SentencePair, sentence_pairs
from jielong.data.shards import Shard
from jielong.objectives.loss import Loss
from jielong.stages import ladder, ladder_rungs, tokenize
from jielong.stages.ladder_rungs import Material, Seq2SeqRung, pair_parts, steps_in
from jielong.tokenizer.bpe import Tokenizer
from jielong.training.learner import Learner, Part
from jielong.training.optimizers import OptimizerConfig, Schedule
from tests.corpus import record, write_prepared
from tests.tiny import tokenizer

SHOW = {"prompts": ["第一只鸟", "Bird"], "said": ["你好"], "words": ["鸟"], "max_tokens": 5}
NETWORK = {"batch": 4, "steps": 3, "optimizer": {"lr": 0.01}}


def values(**changes: object) -> dict:
    base: dict = {"run_dir": "r", "prepared": "p", "data": "d", "seconds": 1.0, "show": SHOW}
    return base | changes


def gpt(window: int = 16, **shape: object) -> dict:
    """A recipe's part with one transformer, x."""
    sizes = {"n_layer": 1, "n_head": 1, "n_kv_head": 1, "ffn_width": 16, "width": 16, "context": 64}
    return {"transformer": {"x": NETWORK | {"window": window, "model": sizes | shape}}}


def gru(window: int = 16, **shape: object) -> dict:
    """A recipe's part with one recurrent network, x."""
    sizes = {"cell": "gru", "n_layer": 1, "width": 16, "context": 64}
    return {"recurrent": {"x": NETWORK | {"window": window, "model": sizes | shape}}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seconds": 0}, "seconds: 0.0: must be above 0"),
        ({"ngram": {"A b": {"order": 2}}}, "A b: no rung's name"),
        ({"ngram": {"word2vec": {"order": 2}}}, "word2vec: the name of two rungs"),
        (
            {"show": SHOW | {"analogies": [["a", "b"]]}},
            r"show\.analogies: \['a', 'b'\]: give three",
        ),
        ({"ngram": {"x": {"order": 2, "smoothing": {"kind": "guess"}}}}, "choose one of"),
        ({"ngram": {"x": {"order": 2, "smoothing": {"k": -1}}}}, "smoothing.k: -1.0: add 0"),
        ({"ngram": {"x": {"order": 0}}}, r"ngram\.x\.order: 0: must be above 0"),
        ({"show": SHOW | {"temperature": -1}}, r"show\.temperature: -1.0: must be between 0"),
        ({"show": SHOW | {"max_tokens": 10**7}}, r"show\.max_tokens: 10000000: must be"),
        (gpt(window=65), r"transformer\.x\.window: 65: exceeds model\.context 64"),
        (gpt(window=1), r"transformer\.x\.window: 1: must be at least 2"),
        (gpt(bidirectional=True), r"x\.model\.bidirectional: true: .* has to predict"),
        (gpt(objective="masked"), r"x\.model\.objective: 'masked': a rung predicts the next"),
        (gpt(objective="prefix"), r"x\.model\.objective: 'prefix': a rung predicts the next"),
        (gru(window=1), r"recurrent\.x\.window: 1: must be at least 2"),
        (gru(context=1), r"recurrent\.x\.model\.context: 1: must be at least 2"),
    ],
)
def test_a_bad_recipe_is_named(change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        configs.parse(ladder.LadderConfig, values(**change))


class Slow(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))


def test_a_clock_becomes_steps() -> None:
    def nap(model: Slow, seconds: float) -> Loss:
        time.sleep(seconds)
        return Loss(model.weight.sum(), torch.tensor(1.0))

    model = Slow()
    trial = Learner(model, [torch.optim.SGD(model.parameters(), lr=0.0)], Schedule(1))
    # the first step is slow, as first steps are, and one later one is: neither decides
    naps = {0: 0.5, 3: 0.5}
    steps = steps_in(5.0, trial, lambda step: [Part([naps.get(step, 0.05)], nap)])
    assert 40 <= steps <= 100


def test_pairs_are_a_pure_function_of_the_step_and_each_comes_once_an_epoch() -> None:
    shard = Shard.pack([[7, 8]], 1, ["zh"], [3])
    material = Material(tokenizer(), shard, shard, 1.0, 5)
    model = Seq2SeqConfig(context=16, width=8, attention=True)
    rung = Seq2SeqRung(batch=4, optimizer=OptimizerConfig(lr=0.1), model=model)
    words = ["春", "风", "化", "雨", "晴", "空", "万", "里"]
    pairs = [SentencePair(word, f"w{i}") for i, word in enumerate(words)]
    pairs += [SentencePair("长" * 40, "too long"), SentencePair("空", "x" * 200)]
    parts, again = pair_parts(pairs, rung, material), pair_parts(pairs, rung, material)

    def said(step: int) -> list[str]:
        (batch,) = parts(step)[0].micro_batches
        rows = zip(batch.source, batch.source_is_token, strict=True)
        return [tokenizer().decode(row[kept].tolist()) for row, kept in rows]

    epochs = [said(step) + said(step + 1) for step in (0, 2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(words)
    assert epochs[0] != epochs[1]
    (batch,), (same,) = parts(3)[0].micro_batches, again(3)[0].micro_batches
    assert all(torch.equal(a, b) for a, b in zip(batch, same, strict=True))
    special = tokenizer().special
    assert (batch.inputs[:, 0] == special.bos).all()
    last = batch.counts.sum(dim=1) - 1
    assert (batch.targets[torch.arange(4), last] == special.eos).all()


def test_an_epoch_is_shuffled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    shuffle = ladder_rungs.generator

    def spy(seed: int, *names: str | int):
        drawn.append(int(names[-1]))
        return shuffle(seed, *names)

    monkeypatch.setattr(ladder_rungs, "generator", spy)
    shard = Shard.pack([[7, 8]], 1, ["zh"], [3])
    model = Seq2SeqConfig(context=16, width=8, attention=True)
    rung = Seq2SeqRung(batch=4, optimizer=OptimizerConfig(lr=0.1), model=model)
    pairs = [SentencePair(word, word) for word in ("春", "风", "化", "雨", "晴", "空")]
    parts = pair_parts(pairs, rung, Material(tokenizer(), shard, shard, 1.0, 5))
    for step in range(6):  # of which every other one ends in the middle of an epoch
        parts(step)
    assert drawn == [0, 1, 2, 3]


@pytest.fixture(scope="module")
def climbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path]:
    """A small ladder with one rung of each kind, stopped once before its last."""
    top = tmp_path_factory.mktemp("ladder")
    texts = [
        f"第{n}只鸟飞走了，没有回来。\nBird {n} flew away and never came back." for n in range(200)
    ]
    rows = [
        record(f"{n}", "hsk", "mixed", "\n\n".join(texts[n : n + 10])) for n in range(0, 200, 10)
    ]
    write_prepared(top / "prepare", {"train": rows[:-2], "valid": rows[-2:]})
    (top / "prepare" / "lexicon.json").write_text("{}")
    settings = tokenize.TokenizeConfig(
        run_dir=f"{top}/tokenize", documents=f"{top}/prepare", vocab_size=330
    )
    tokenize.run(settings)
    shape = {"context": 64, "width": 16}
    recurrent = {"cell": "gru", "n_layer": 1} | shape
    transformer = {"n_layer": 1, "n_head": 1, "n_kv_head": 1, "ffn_width": 16} | shape
    recipe = values(
        run_dir=f"{top}/run",
        prepared=f"{top}/prepare",
        data=f"{top}/tokenize",
        ngram={"bigram": {"order": 2}},
        word2vec={"width": 8, "epochs": 1},
        recurrent={"gru": NETWORK | {"window": 16, "model": recurrent}},
        transformer={"gpt": NETWORK | {"steps": 0, "window": 16, "model": transformer}},
        seq2seq={"pairs": NETWORK | {"model": shape | {"attention": True}}},
        seconds=0.2,
    )
    config = configs.parse(ladder.LadderConfig, recipe)
    ladder.run(config)
    return recipe, top / "run"


def test_every_rung_is_a_run_that_is_recorded(climbed: tuple[dict, Path]) -> None:
    _, run = climbed
    manifest = open_run(run).manifest
    summary = json.loads((run / "summary.json").read_text())
    assert manifest["finished"]
    assert [rung["name"] for rung in summary["rungs"]] == ["bigram", "gru", "gpt"]
    steps = manifest["steps"]
    assert (steps["bigram"], steps["gru"]) == (0, 3)
    assert steps["gpt"] > 1
    assert f"steps = {steps['gpt']}" in (run / "rungs" / "gpt" / "config.toml").read_text()
    assert summary["uniform"] > summary["rungs"][0]["bits_per_byte"] > 0
    assert summary["translators"][0]["name"] == "pairs"
    assert (run / "report.html").exists()


def test_a_resumed_ladder_keeps_what_is_finished(
    climbed: tuple[dict, Path], tmp_path: Path
) -> None:
    """The run as a kill would leave it after its third rung; the rest comes out the same."""
    recipe, done = climbed
    config = configs.parse(ladder.LadderConfig, recipe | {"run_dir": f"{tmp_path}/again"})
    again = tmp_path / "again"
    first = json.loads((done / "summary.json").read_text())
    steps = open_run(done).manifest["steps"]["gpt"]
    fixed = recipe["transformer"]["gpt"] | {"steps": steps}
    config = configs.parse(
        ladder.LadderConfig,
        recipe | {"run_dir": str(again), "transformer": {"gpt": fixed}},
    )

    def stop(*arguments: object, **more: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ladder, "climb_seq2seq", stop)
        with pytest.raises(KeyboardInterrupt):
            ladder.run(config)
    kept = {p.parent.name: p.stat().st_mtime_ns for p in again.glob("rungs/*/manifest.json")}
    assert set(kept) == {"bigram", "word2vec", "gru", "gpt"}
    ladder.run(config, resume=True)
    for name, time_ns in kept.items():
        assert (again / "rungs" / name / "manifest.json").stat().st_mtime_ns == time_ns
    second = json.loads((again / "summary.json").read_text())
    for key in ("samples", "nearest", "translations", "dialogue"):
        assert second[key] == first[key]
    bits = [[rung["bits_per_byte"] for rung in found["rungs"]] for found in (first, second)]
    assert bits[0] == bits[1]


def nothing_else(recipe: dict, **changes: object) -> dict:
    """A recipe on the same data without rungs, but for those given."""
    kept = {name: recipe[name] for name in ("prepared", "data", "seconds", "show")}
    return values(**kept) | changes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            gpt(window=4, context=5) | {"show": SHOW | {"prompts": ["x", "ZQXJ"]}},
            r"show\.prompts\[1\]: 5 tokens, which leaves x no room in its context of 5: shorten",
        ),
        (gru(window=6000), "too few for windows of 6001"),
        (
            {"seq2seq": {"wide": {"context": 64}, "narrow": {"context": 3}}},
            r"seq2seq\.narrow\.model\.context: 3: no pair of sentences fits: raise it",
        ),
    ],
)
def test_what_cannot_be_shown_or_asked_is_told_before_the_climb(
    climbed: tuple[dict, Path], tmp_path: Path, change: dict, message: str
) -> None:
    """Nothing is left in the way of the mended recipe, either."""
    shape = {"width": 16, "attention": True}
    pairs = change.get("seq2seq", {})
    change = change | {"seq2seq": {n: NETWORK | {"model": shape | m} for n, m in pairs.items()}}
    recipe = nothing_else(climbed[0], run_dir=f"{tmp_path}/run", **change)
    with pytest.raises(JielongError, match=message):
        ladder.run(configs.parse(ladder.LadderConfig, recipe))
    assert not (tmp_path / "run").exists()


def test_translators_are_asked_what_they_can_read(
    climbed: tuple[dict, Path], tmp_path: Path
) -> None:
    """Held-out sentences that are too long for one are left out for all, as in training."""
    recipe, _ = climbed
    words = Tokenizer.load(Path(recipe["data"]))
    pairs = sentence_pairs(open_run(Path(recipe["prepared"])))["test"]
    sizes = [max(len(words.encode(p.zh)) + 1, len(words.encode(p.en)) + 2) for p in pairs]
    assert min(sizes) < max(sizes)
    rungs = {
        name: NETWORK | {"model": {"width": 16, "attention": True, "context": context}}
        for name, context in (("all", 64), ("some", min(sizes)))
    }
    mended = nothing_else(recipe, run_dir=f"{tmp_path}/run", seq2seq=rungs)
    ladder.run(configs.parse(ladder.LadderConfig, mended))
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["pairs"] == sizes.count(min(sizes))
    shown = [row["zh"] for row in summary["translations"]]
    assert shown == [p.zh for p, n in zip(pairs, sizes, strict=True) if n == min(sizes)][:8]
