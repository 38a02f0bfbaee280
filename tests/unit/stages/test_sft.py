"""The stage as a user meets it: packed and unpacked, resumed, and what it refuses."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from jielong.core.errors import ConfigError, DataError
from jielong.core.run_dir import RunDir, open_run, read_metrics
from jielong.data.lexicon import Lexicon
from jielong.data.shards import Shard
from jielong.generation.loading import load_assistant, save_model
from jielong.model.lora import LoraConfig
from jielong.stages import sft
from jielong.training.checkpoint import latest
from jielong.training.optimizers import OptimizerConfig
from jielong.training.settings import TrainingConfig
from tests.tiny import decoder, tokenizer

CONTEXT = 96


@dataclass(frozen=True, kw_only=True)
class Config:
    seed: int = 0


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What SFT starts from: text, a vocabulary, a few sentences, and a base model that babbles."""
    top = tmp_path_factory.mktemp("sft")
    tokens = RunDir.create(top / "tokenize", stage="tokenize", config=Config())
    tokenizer().save(tokens.path)
    ids = np.random.default_rng(0).integers(6, 300, size=2000).astype(np.uint16)
    Shard(ids, np.array([0]), np.array(["zh"]), np.array([4000])).save(tokens.path / "train.npz")
    tokens.finish()
    prepared = RunDir.create(top / "prepare", stage="prepare", config=Config())
    words = [f"{a}{b}" for a in "天地人山水火木金土日" for b in "月风云花鸟虫鱼龙虎马"]
    words.append("火口")  # on the dev side of the wall
    found = [{"text": f"他说{word}很好。", "lang": "zh", "source": "own"} for word in words]
    Lexicon(sentences=found, words_zh=words).save(prepared.path / "lexicon.json")
    prepared.finish()
    base = RunDir.create(top / "pretrain", stage="pretrain", config=Config())
    model = decoder(vocab_size=tokenizer().vocab_size, context=CONTEXT, dropout=0.2)
    base.finish(save_model(base.path, model, tokenizer()))
    return top


def recipe(top: Path, run_dir: Path, **changes: object) -> sft.SFTConfig:
    settings: dict = {
        "run_dir": str(run_dir),
        "init_from": f"{top}/pretrain",
        "data": f"{top}/tokenize",
        "prepared": f"{top}/prepare",
        "steps": 10,
        "batch": 4,
        "longest": 90,
        "document_window": 24,
        "families": {"sentence": 1.0},
        "save_every": 4,
        "optimizer": OptimizerConfig(lr=1e-2),
    }
    return sft.SFTConfig(**settings | changes)


def own(path: Path, *talks: tuple[str, ...]) -> dict[str, object]:
    """The settings that teach these conversations alone."""
    lines = [
        {
            "messages": [
                {"role": ("user", "assistant")[i % 2], "content": c} for i, c in enumerate(t)
            ]
        }
        for t in talks
    ]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return {"families": {}, "conversations": (str(path),)}


def end(run: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in latest(run).iterdir()}


def cut_at_line(monkeypatch: pytest.MonkeyPatch, number: int, config: sft.SFTConfig) -> None:
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
            sft.run(config)


@pytest.mark.parametrize("packed", [False, True])
def test_C1_a_resumed_run_is_the_straight_run(
    top: Path, tmp_path: Path, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With dropout, in the middle of a pool, and with conversations that are split."""
    long = ("一二三四", "五六七八九十") * 12
    settings: dict = own(tmp_path / "own.jsonl", long, ("你好", "好。")) | {
        "families": {"sentence": 1.0},
        "packed": packed,
    }
    straight = sft.run(recipe(top, tmp_path / "straight", **settings))
    broken = recipe(top, tmp_path / "broken", **settings)
    cut_at_line(monkeypatch, 7, broken)
    torch.rand(5)
    assert end(sft.run(broken, resume=True)) == end(straight)


def test_held_out_conversations_choose_the_best(top: Path, tmp_path: Path) -> None:
    """Measured at each checkpoint, with other words than are taught; the training is the same."""
    families = {"repeat": 1.0}
    plain = sft.run(recipe(top, tmp_path / "plain", families=families))
    run = sft.run(recipe(top, tmp_path / "run", families=families, keep_best=True))
    lines = read_metrics(run)
    losses = {m["step"]: m["held_out_loss"] for m in lines if "held_out_loss" in m}
    assert list(losses) == [4, 8, 10]
    best = min(losses, key=lambda step: losses[step])
    assert open_run(run).manifest["best_checkpoint"] == f"step-{best:06d}"
    assert [m["chat_loss"] for m in lines] == [m["chat_loss"] for m in read_metrics(plain)]
    with pytest.raises(ValueError, match="keep_best: measured on families, and there are none"):
        recipe(top, tmp_path, keep_best=True, families={}, conversations=("own.jsonl",))


def test_packed_and_unpacked_see_the_same_conversations(top: Path, tmp_path: Path) -> None:
    """Over a pool of eight steps, the tokens that count are the same ones in another order."""
    found = {}
    for packed in (False, True):
        config = recipe(top, tmp_path / f"{packed}", steps=8, packed=packed)
        found[packed] = [metrics["chat_items"] for metrics in read_metrics(sft.run(config))]
    assert sum(found[True]) == sum(found[False])
    assert found[True] != found[False]


def test_long_conversations_are_taught_whole(top: Path, tmp_path: Path) -> None:
    """Twelve exchanges that fill several rows: as many answers count as were given, `<eos>`
    included, in every step of one conversation."""
    answers = ["好" * (i + 1) for i in range(12)]
    talk = [content for i, answer in enumerate(answers) for content in (f"{i}", answer)]
    expected = sum(len(ids) + 1 for ids in tokenizer().encode_batch(answers))
    for packed in (False, True):
        settings = own(tmp_path / "own.jsonl", tuple(talk)) | {"packed": packed, "batch": 1}
        config = recipe(top, tmp_path / f"run-{packed}", longest=60, steps=8, **settings)
        run = sft.run(config)
        items = [metrics["chat_items"] for metrics in read_metrics(run)]
        assert sum(items) == 8 * expected
        assert open_run(run).manifest["cut_exchanges"] == 0
    assert set(items) == {expected}  # packed, each step has its own conversation


def test_what_is_cut_is_counted_and_said_once(
    top: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = own(tmp_path / "own.jsonl", ("一", "二"), ("三", "春" * 80, "春" * 80, "四"))
    run = sft.run(recipe(top, tmp_path / "run", longest=40, **settings))
    manifest = open_run(run).manifest
    assert (manifest["cut_exchanges"], manifest["cut_answers"]) == (2, 1)
    said = " ".join(capsys.readouterr().err.split())
    assert (
        said.count("own.jsonl:2: exchanges longer than 40 tokens, whose end is cut: 2, with") == 1
    )


@pytest.mark.parametrize("packed", [False, True])
def test_own_conversations_without_an_answer_are_refused(
    top: Path, tmp_path: Path, packed: bool
) -> None:
    settings = own(tmp_path / "own.jsonl", ("一", "二"), ("春" * 80, "好"), ("风" * 90, "好"))
    with pytest.raises(DataError) as error:
        sft.run(recipe(top, tmp_path / "run", longest=40, packed=packed, **settings))
    assert str(error.value) == (
        f"{tmp_path}/own.jsonl:2, {tmp_path}/own.jsonl:3: no answer within 40 tokens, so nothing "
        "to learn: shorten the question, or raise the recipe's longest (the model's context is "
        "its limit)"
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("packed", [False, True])
def test_rows_too_short_for_the_task_families_are_refused(
    top: Path, tmp_path: Path, packed: bool
) -> None:
    with pytest.raises(DataError, match=r"^sentence: '.*: no answer within 3 tokens"):
        sft.run(recipe(top, tmp_path / "run", longest=3, packed=packed))
    assert not (tmp_path / "run").exists()


def test_a_context_too_short_is_refused_as_a_row_would_be(top: Path, tmp_path: Path) -> None:
    settings = own(tmp_path / "own.jsonl", ("春" * 150, "好"))
    with pytest.raises(DataError, match=f"own.jsonl:1: no answer within {CONTEXT} tokens"):
        sft.run(recipe(top, tmp_path / "run", longest=1000, **settings))


LORA: dict = {
    "lora": LoraConfig(rank=4, dropout=0.1, targets=("attention.*", "feed_forward.down")),
    "training": TrainingConfig(micro_batch=3, activation_checkpointing=True, ema_decay=0.7),
    "optimizer": OptimizerConfig(lr=1e-2, schedule="cosine", warmup_steps=2),
}


@pytest.mark.parametrize("packed", [False, True])
def test_C1_adapters_resume_bit_for_bit(
    top: Path, tmp_path: Path, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With dropout, an average of the weights, and pieces of a batch."""
    settings = LORA | {"packed": packed}
    straight = sft.run(recipe(top, tmp_path / "straight", **settings))
    broken = recipe(top, tmp_path / "broken", **settings)
    cut_at_line(monkeypatch, 7, broken)
    torch.rand(5)
    again = sft.run(broken, resume=True)
    assert end(again) == end(straight)
    for name in ("model.safetensors", "adapter.safetensors"):
        assert (again / "model" / name).read_bytes() == (straight / "model" / name).read_bytes()


def test_adapters_leave_all_else_as_it_was(top: Path, tmp_path: Path) -> None:
    """What is saved is a plain model: the base, and W + 16/4 B A where a target says."""
    run = sft.run(recipe(top, tmp_path / "run", **LORA))
    base = load_assistant(top / "pretrain").model.state_dict()
    found = load_assistant(run).model.state_dict()
    apart = load_file(run / "model" / "adapter.safetensors")
    assert found.keys() == base.keys()
    for name, weight in found.items():
        layer = name.removesuffix(".weight")
        change = torch.zeros(())
        if "attention.qkv" in name or name.endswith(("output.weight", "down.weight")):
            change = 4 * apart[f"{layer}.lora_b"] @ apart[f"{layer}.lora_a"]
            assert change.abs().max() > 0
        torch.testing.assert_close(weight, base[name] + change)
    assert len(apart) == 2 * 6
    losses = [metrics["chat_loss"] for metrics in read_metrics(run)]
    assert min(losses[-3:]) < losses[0]


def test_adapters_of_layers_that_are_not_there_are_refused(top: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^lora.targets: 'q_proj': names no linear layer"):
        sft.run(recipe(top, tmp_path / "run", lora=LoraConfig(targets=("q_proj",))))
    assert not (tmp_path / "run").exists()
