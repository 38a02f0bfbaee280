"""The stage as a user meets it: each kind learned, scored, saved, resumed, and what it refuses."""

import json
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
import torch
from safetensors.torch import load_file

from jielong.core import config as configs
from jielong.core.errors import ConfigError, DataError
from jielong.core.run_dir import RunDir, open_run, read_metrics
from jielong.data.lexicon import Lexicon
from jielong.data.task_rows import encode, read_examples
from jielong.generation.loading import save_model
from jielong.stages import finetune
from jielong.training.checkpoint import latest
from jielong.training.optimizers import OptimizerConfig
from jielong.training.settings import TrainingConfig
from tests.tiny import decoder, tokenizer

HAN = "天地人山水火木金土日月风云花鸟"


@dataclass(frozen=True, kw_only=True)
class Config:
    seed: int = 0


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model that babbles, and words of two fields that their first characters tell."""
    top = tmp_path_factory.mktemp("finetune")
    base = RunDir.create(top / "pretrain", stage="pretrain", config=Config())
    model = decoder(std=0.15, vocab_size=tokenizer().vocab_size, dropout=0.1)
    base.finish(save_model(base.path, model, tokenizer()))
    prepared = RunDir.create(top / "prepare", stage="prepare", config=Config())
    words = [f"{a}{b}{c}" for a in HAN[:6] for b in HAN for c in HAN]
    categories = {word: ["食物" if word[0] in "天地人" else "动物"] for word in words}
    Lexicon(categories=categories).save(prepared.path / "lexicon.json")
    prepared.finish()
    return top


def record(kind: str, draw: Random) -> dict[str, object]:
    """A question whose answer is whether there is a fox."""
    texts = ["the fox", "the dog"]
    draw.shuffle(texts)
    said = draw.choice(HAN)
    label = "yes" if "fox" in texts[0] else "no"
    match kind:
        case "classification":
            return {"text": said + texts[0], "label": label}
        case "similarity":
            return {"first": texts[0], "second": said, "label": label}
        case "entailment":
            return {"premise": said, "hypothesis": texts[0], "label": label}
    choices = [said + text for text in texts]
    return {"context": said, "choices": choices, "label": 0 if label == "yes" else 1}


def write(path: Path, kind: str, n: int, seed: int) -> str:
    draw = Random(seed)
    lines = [json.dumps(record(kind, draw), ensure_ascii=False) for _ in range(n)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


def recipe(top: Path, folder: Path, kind: str = "classification", **changes: object) -> dict:
    folder.mkdir(exist_ok=True)
    return {
        "run_dir": str(folder / "run"),
        "init_from": f"{top}/pretrain",
        "kind": kind,
        "train": write(folder / "train.jsonl", kind, 96, 0),
        "test": write(folder / "test.jsonl", kind, 40, 1),
        "epochs": 4,
        "batch": 16,
        "longest": 24,
        "save_every": 5,
        "optimizer": OptimizerConfig(lr=1e-2),
    } | changes


def run(settings: dict, **options: bool) -> Path:
    return finetune.run(finetune.FinetuneConfig(**settings), **options)


@pytest.mark.parametrize("kind", ["classification", "similarity", "entailment", "choice"])
def test_each_kind_is_learned_scored_and_saved(kind: str, top: Path, tmp_path: Path) -> None:
    path = run(recipe(top, tmp_path, kind))
    scores = json.loads((path / "evaluation.json").read_text())
    assert scores["n"] == 40
    assert scores["accuracy"]["estimate"] > 0.9
    assert scores["majority"]["accuracy"]["estimate"] < 0.7
    lines = [json.loads(line) for line in (path / "predictions.jsonl").read_text().splitlines()]
    right = sum(line["label"] == line["answer"] for line in lines)
    assert right / 40 == pytest.approx(scores["accuracy"]["estimate"])
    assert open_run(path).manifest["accuracy"] == pytest.approx(right / 40)
    metrics = read_metrics(path)
    assert len(metrics) == 24  # 4 times 96 examples in batches of 16
    assert metrics[-1]["loss"] == pytest.approx(
        metrics[-1]["task_loss"] + 0.5 * metrics[-1]["lm_loss"], rel=1e-4
    )
    model, read, labels = finetune.load(path)
    examples = encode(read, read_examples(tmp_path / "test.jsonl", kind), labels, 24)  # type: ignore[arg-type]
    again = [labels[i] for i in finetune.answer(model, examples, read.special.pad)]
    assert again == [line["answer"] for line in lines]


def test_words_of_a_prepared_run_need_no_file(
    top: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = {"train": None, "test": "", "prepared": f"{top}/prepare", "lm_weight": 0.0}
    path = run(recipe(top, tmp_path, **words, epochs=1))
    scores = json.loads((path / "evaluation.json").read_text())
    assert scores["accuracy"]["estimate"] > 0.9
    assert "lm_loss" not in read_metrics(path)[0]
    said = " ".join(capsys.readouterr().err.split())
    assert "held-out examples: accuracy" in said
    assert "macro F1" in said
    assert "always" in said


@pytest.mark.invariance
def test_C1_a_resumed_run_is_the_straight_run(
    top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = run(recipe(top, tmp_path / "straight", epochs=2))
    settings = recipe(top, tmp_path / "broken", epochs=2)
    log, seen = RunDir.log, []

    def cut(self: RunDir, metrics: dict) -> None:
        seen.append(metrics)
        if len(seen) == 8:
            raise RuntimeError("power")
        log(self, metrics)

    with monkeypatch.context() as patch:
        patch.setattr(RunDir, "log", cut)
        with pytest.raises(RuntimeError, match="power"):
            run(settings)
    torch.rand(5)
    resumed = run(settings, resume=True)
    ends = [
        {f.name: f.read_bytes() for f in latest(path).iterdir()} for path in (straight, resumed)
    ]
    assert ends[0] == ends[1]
    pages = [(path / "predictions.jsonl").read_bytes() for path in (straight, resumed)]
    assert pages[0] == pages[1]


def test_a_label_that_is_not_taught_is_never_answered(top: Path, tmp_path: Path) -> None:
    settings = recipe(top, tmp_path, epochs=1)
    line = json.dumps({"text": "the cat", "label": "maybe"}) + "\n"
    Path(settings["test"]).write_text(line, encoding="utf-8")
    scores = json.loads((run(settings) / "evaluation.json").read_text())
    assert scores["accuracy"]["estimate"] == 0


def test_long_texts_are_cut_and_it_says_so(
    top: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = recipe(top, tmp_path, epochs=1)
    lines = [json.dumps({"text": "j" * n, "label": "xy"[n % 2]}) for n in range(4, 20)]
    Path(settings["train"]).write_text("\n".join(lines), encoding="utf-8")
    run(settings | {"longest": 14})
    said = " ".join(capsys.readouterr().err.split())
    assert "7 examples are longer than 14 tokens: their end is cut" in said


def test_a_bad_file_leaves_no_run_behind(top: Path, tmp_path: Path) -> None:
    settings = recipe(top, tmp_path)
    Path(settings["test"]).write_text('{"text": "a"}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"test\.jsonl:1: has text: a classification line has"):
        run(settings)
    Path(settings["test"]).write_text('{"text": "a", "label": "no"}\n', encoding="utf-8")
    Path(settings["train"]).write_text('{"text": "a", "label": "no"}\n' * 2, encoding="utf-8")
    with pytest.raises(DataError, match="all examples have the label 'no'"):
        run(settings)
    assert not (tmp_path / "run").exists()


def test_a_base_that_reads_both_ways_is_refused(top: Path, tmp_path: Path) -> None:
    base = RunDir.create(tmp_path / "masked", stage="pretrain", config=Config())
    shape = {"vocab_size": tokenizer().vocab_size, "objective": "masked", "bidirectional": True}
    base.finish(save_model(base.path, decoder(**shape), tokenizer()))
    with pytest.raises(ConfigError, match="a masked model, which fills gaps"):
        run(recipe(top, tmp_path, init_from=str(base.path)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test": None}, "train: give train and test files, or a prepared run instead"),
        ({"prepared": "x"}, "train: give train and test files, or a prepared run instead"),
        ({"train": None, "test": None}, "train: give train and test files"),
        ({"kind": "regression"}, "kind: 'regression': choose one of 'classification'"),
        (
            {"train": None, "test": None, "prepared": "x", "kind": "choice"},
            "kind: 'choice': a prepared run has 'classification' only",
        ),
        ({"lm_weight": -0.5}, "lm_weight: -0.5: must not be negative"),
        ({"longest": 4}, "longest: 4: must be at least 8"),
        ({"dropout": 1.0}, "dropout: 1.0: must be at least 0 and below 1"),
        ({"epochs": 0}, "epochs: 0: must be above 0"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    changes: dict, message: str, top: Path, tmp_path: Path
) -> None:
    values = configs.to_dict(finetune.FinetuneConfig(**recipe(top, tmp_path))) | changes
    values = {name: value for name, value in values.items() if value is not None}
    with pytest.raises(ConfigError) as caught:
        configs.parse(finetune.FinetuneConfig, values)
    assert str(caught.value).startswith(message)


def test_the_average_answers_and_is_saved(top: Path, tmp_path: Path) -> None:
    training = TrainingConfig(micro_batch=5, activation_checkpointing=True, ema_decay=0.8)
    path = run(recipe(top, tmp_path, "choice", training=training))
    kept = load_file(latest(path) / "training.safetensors")
    for name, weight in load_file(path / "model" / "model.safetensors").items():
        assert torch.equal(weight, kept[f"learner.average.{name}"])
    model, read, labels = finetune.load(path)
    examples = encode(read, read_examples(tmp_path / "test.jsonl", "choice"), labels, 24)
    again = [labels[i] for i in finetune.answer(model, examples, read.special.pad)]
    lines = (path / "predictions.jsonl").read_text().splitlines()
    assert again == [json.loads(line)["answer"] for line in lines]
