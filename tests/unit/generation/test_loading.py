import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from jielong.baselines.ngram import NgramModel
from jielong.baselines.recurrent import Recurrent, RecurrentConfig
from jielong.baselines.seq2seq import Seq2Seq, Seq2SeqConfig
from jielong.cli import main
from jielong.core.errors import CheckpointError, ConfigError, DataError, RunDirectoryError
from jielong.core.run_dir import RunDir
from jielong.generation.engine import generate
from jielong.generation.loading import (
    WEIGHTS,
    load_assistant,
    load_reward_model,
    load_speaker,
    load_task_model,
    save_model,
    save_ngram,
)
from jielong.generation.sampling import Sampling
from jielong.model.task_model import TaskModel
from jielong.tokenizer.bpe import Tokenizer
from tests.tiny import (
    TEXTS,
    assistant,
    config,
    encoder_decoder,
    random_ids,
    scalar_model,
    tokenizer,
)


@dataclass(frozen=True, kw_only=True)
class Config:
    seed: int = 0


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run with a model."""
    made = RunDir.create(tmp_path / "sft", stage="sft", config=Config())
    save_model(made.path, assistant().model, assistant().tokenizer)
    made.finish()
    return made.path


@pytest.mark.parametrize("below", ["", "model"])
def test_a_model_comes_back_bit_for_bit(run: Path, below: str) -> None:
    loaded = load_assistant(run / below)
    ids = random_ids(2, 9)
    assert torch.equal(loaded.model(ids), assistant().model(ids))
    assert loaded.tokenizer.encode(TEXTS[0]) == tokenizer().encode(TEXTS[0])
    assert (loaded.name, loaded.context, loaded.model.training) == ("sft", 32, False)
    parameters = sum(p.numel() for p in assistant().model.parameters())
    described = f"sft: {parameters / 1e6:.1f}M parameters, context 32 tokens"
    assert loaded.describe() == described


def test_R5_a_reward_model_comes_back_with_its_shift_and_scale(tmp_path: Path) -> None:
    model = scalar_model(vocab_size=tokenizer().vocab_size)
    model.calibrate(0.75, 3.0)
    save_model(tmp_path, model, tokenizer())
    loaded, read = load_reward_model(tmp_path)
    ids = random_ids(2, 9)
    assert torch.equal(loaded(ids), model(ids))
    assert read.vocab_size == tokenizer().vocab_size


def test_a_quickstart_directory_means_its_assistant(run: Path) -> None:
    top = run.parent
    manifest = {"stage": "quickstart", "finished": True, "assistant": "sft"}
    (top / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert load_assistant(top).name == "sft"


def test_a_place_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="nowhere: no such model"):
        load_assistant(tmp_path / "nowhere")
    with pytest.raises(RunDirectoryError, match="holds no model"):
        load_assistant(tmp_path)
    made = RunDir.create(tmp_path / "run", stage="pretrain", config=Config())
    with pytest.raises(RunDirectoryError, match="this pretrain run has not finished"):
        load_assistant(made.path)
    made.finish()
    with pytest.raises(RunDirectoryError, match="this pretrain run makes no model"):
        load_assistant(made.path)


def refused(run: Path) -> str:
    """The one line that loading ends with, after the folder's name."""
    with pytest.raises(CheckpointError) as caught:
        load_assistant(run)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{run / 'model'}/")


def test_damaged_files_are_named(run: Path) -> None:
    file = run / "model" / WEIGHTS
    file.write_bytes(file.read_bytes()[:1000])
    assert refused(run).startswith(f"{WEIGHTS}: no whole safetensors file (")
    file.unlink()
    assert refused(run) == f"{WEIGHTS}: is missing: copy it too"


QKV = "blocks.1.attention.qkv.weight"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({QKV: None}, f"holds no {QKV}, and model.toml asks for it: copy both"),
        ({"blocks.2.x": torch.ones(3)}, "blocks.2.x has no place in a model of that model.toml"),
        ({QKV: torch.ones(47, 24)}, f"{QKV} is 47 x 24 and model.toml asks for 48 x 24: copy both"),
        ({QKV: torch.ones(48, 24).int()}, f"{QKV} is stored as I32: only F32, F16, BF16"),
        ({QKV: torch.full((48, 24), torch.nan)}, f"{QKV} holds NaN or infinity: take it from"),
        ({"norm.weight": torch.full((24,), torch.inf)}, "norm.weight holds NaN or infinity: take"),
    ],
)
def test_a_tensor_at_fault_is_named(
    run: Path, changes: dict[str, torch.Tensor | None], message: str
) -> None:
    file = run / "model" / WEIGHTS
    weights = load_file(file) | changes
    save_file({name: w for name, w in weights.items() if w is not None}, file)
    assert refused(run).startswith(f"{WEIGHTS}: {message}")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("n_layer = 2", "n_layer = 1_000_000", "n_layer: 1000000: the weights are of 2 layers"),
        ("width = 24", f"width = {2**62}", f"width: {2**62}: no tensor of the weights is as large"),
        ("ffn_width = 40", f"ffn_width = {2**62}", f"ffn_width: {2**62}: no tensor"),
        ("context = 32", f"context = {2**64}", f"context: {2**64}: expected at most {2**31 - 1}"),
        ("segments = 0", f"segments = {2**62}", f"segments: {2**62}: no tensor"),
        ("n_head = 4", f"n_head = 4\nhead_size = {2**62}", f"n_head * head_size: {2**64}: no"),
    ],
)
def test_a_model_that_the_weights_cannot_be_is_never_begun(
    run: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, message: str
) -> None:
    shape = run / "model" / "model.toml"
    text = shape.read_text(encoding="utf-8")
    assert f"\n{old}\n" in text
    shape.write_text(text.replace(f"\n{old}\n", f"\n{new}\n"), encoding="utf-8")
    monkeypatch.setattr("jielong.model.transformer.Block", lambda *_, **__: pytest.fail("begun"))
    assert refused(run).startswith(f"model.toml: {message}")


def test_a_model_with_another_head_says_what_it_is(tmp_path: Path) -> None:
    size = tokenizer().vocab_size
    save_model(tmp_path / "reward", scalar_model(vocab_size=size), tokenizer())
    save_model(tmp_path / "task", TaskModel(config(vocab_size=size), 3), tokenizer())
    with pytest.raises(CheckpointError, match="reward/model: a reward model, which scores answers"):
        load_speaker(tmp_path / "reward")
    with pytest.raises(CheckpointError, match="task/model: a fine-tuned model, which does one"):
        load_speaker(tmp_path / "task")
    model, _ = load_task_model(tmp_path / "task", 3)
    assert model.classes == 3
    with pytest.raises(CheckpointError, match=r"head\.weight is 3 x 24 and model\.toml asks"):
        load_task_model(tmp_path / "task", 4)


def test_what_is_asked_of_another_kind_of_model(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each line says what the model is for, and what the command takes."""
    size = tokenizer().vocab_size
    pair, counts = tmp_path / "pair", tmp_path / "counts"
    save_model(pair, encoder_decoder(vocab_size=size), tokenizer())
    save_ngram(counts, NgramModel.fit([6, 7], 1, size), tokenizer())
    export = ["export", "--format", "hf"]
    for words, line in (
        ([*export, str(pair), "out"], "an encoder-decoder, which continues texts: ask it with "),
        ([*export, str(counts), "out"], "a model from before the transformer: ask it with "),
        ([*export, "rules", "out"], "a table of rules, which answers: ask it with "),
    ):
        assert main(words) == 1
        said = capsys.readouterr().err
        assert said.startswith(f"{words[3]}: {line}jielong generate")
        assert said.endswith("; this takes a causal model\n")
    assert main(["inspect", "rules", "a"]) == 1
    assert capsys.readouterr().err.endswith("; this takes a causal or prefix or masked model\n")
    assert main(["sizes", str(counts)]) == 1
    assert capsys.readouterr().err.endswith("; this takes a transformer of ours\n")


def test_a_tokenizer_of_another_model_is_refused(run: Path) -> None:
    Tokenizer.train(TEXTS, 280).save(run / "model")
    with pytest.raises(CheckpointError, match="280 entries and the model 300"):
        load_assistant(run)
    (run / "model" / "tokenizer.json").unlink()
    with pytest.raises(DataError, match="no tokenizer here"):
        load_assistant(run)


def test_what_came_before_comes_back_too(tmp_path: Path) -> None:
    size, ids = tokenizer().vocab_size, random_ids(2, 9)
    shape = RecurrentConfig(vocab_size=size, context=32, cell="lstm", n_layer=1, width=8)
    lstm = Recurrent(shape)
    save_model(tmp_path / "lstm", lstm, tokenizer())
    loaded = load_speaker(tmp_path / "lstm")
    assert torch.equal(loaded.model(ids), lstm(ids))
    assert (loaded.name, loaded.context, loaded.model.training) == ("lstm", 32, False)

    pair_shape = Seq2SeqConfig(vocab_size=size, context=32, width=8, attention=True)
    translator = Seq2Seq(pair_shape)
    save_model(tmp_path / "seq2seq", translator, tokenizer())
    whole = torch.ones_like(ids, dtype=torch.bool)
    again = load_speaker(tmp_path / "seq2seq").model
    found, expected = (model(ids, ids, source_is_token=whole) for model in (again, translator))
    assert torch.equal(found, expected)

    ngram = NgramModel.fit(ids.flatten().tolist(), 2, size)
    save_ngram(tmp_path / "ngram", ngram, tokenizer())
    counted = load_speaker(tmp_path / "ngram")
    assert (counted.model.ngram.logp(ids[0].tolist()) == ngram.logp(ids[0].tolist())).all()
    assert counted.describe().startswith("ngram: 0.0M grams of up to 2 tokens, any context")


def test_an_ngram_with_another_tokenizer_is_refused(tmp_path: Path) -> None:
    save_ngram(tmp_path, NgramModel.fit([1, 2], 1, 7), tokenizer())
    with pytest.raises(CheckpointError, match="do not belong together"):
        load_speaker(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("keys_1", np.array("x")),
        ("keys_1", np.array([-6.0])),
        ("counts_1", np.zeros((2, 2))),
        ("vocab_size", np.array([7, 7])),
    ],
)
def test_a_damaged_ngram_is_named(tmp_path: Path, name: str, value: np.ndarray) -> None:
    save_ngram(tmp_path, NgramModel.fit([6, 7], 1, 300), tokenizer())
    file = tmp_path / "model" / "ngram.npz"
    np.savez(file, **dict(np.load(file)) | {name: value})
    with pytest.raises(CheckpointError, match=r"ngram\.npz: not a whole n-gram file"):
        load_speaker(tmp_path)


def test_rules_are_a_name_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "parrot.toml"
    table.write_text('[[rules]]\npattern = "$"\nrewrite = "!"\n')
    parrot = load_speaker(table)
    assert parrot.name == "parrot"
    sampling = Sampling(max_tokens=99)
    (answer,) = generate(parrot, [[1, *parrot.tokenizer.encode("鹦鹉 polly")]], sampling)
    assert answer.text == "鹦鹉 polly!"
    monkeypatch.chdir(tmp_path)
    assert load_speaker("rules").describe().startswith("rules: ")
    with pytest.raises(ConfigError, match=r"nowhere\.toml: no such recipe"):
        load_speaker(tmp_path / "nowhere.toml")
