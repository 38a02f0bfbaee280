import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from jielong.baselines.ngram import NgramModel
from jielong.baselines.recurrent import Recurrent, RecurrentConfig
from jielong.baselines.seq2seq import Seq2Seq, Seq2SeqConfig
from jielong.core.errors import CheckpointError, ConfigError, DataError, RunDirectoryError
from jielong.core.run_dir import RunDir
from jielong.generation.engine import generate
from jielong.generation.loading import (
    load_assistant,
    load_reward_model,
    load_speaker,
    save_model,
    save_ngram,
)
from jielong.generation.sampling import Sampling
from jielong.tokenizer.bpe import Tokenizer
from tests.tiny import TEXTS, assistant, random_ids, scalar_model, tokenizer


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


@pytest.mark.parametrize("damage", ["cut", "missing", "other"])
def test_damaged_weights_are_named(run: Path, damage: str) -> None:
    file = run / "model" / "model.safetensors"
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:1000])
    elif damage == "missing":
        file.unlink()
    else:
        shape = run / "model" / "model.toml"
        shape.write_text(shape.read_text().replace("ffn_width = 40", "ffn_width = 44"))
    with pytest.raises(CheckpointError, match=r"model\.safetensors: cannot be loaded") as caught:
        load_assistant(run)
    assert "\n" not in str(caught.value)


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
