import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from jielong.cli import main
from jielong.core.errors import CheckpointError, ConfigError, DataError, RunDirectoryError
from jielong.generation.conversation import fit
from jielong.generation.engine import generate
from jielong.generation.exchange import export_adapter, export_folder, import_model
from jielong.generation.loading import load_assistant, save_model
from jielong.generation.sampling import Sampling
from jielong.model.formats.hugging_face import write_model
from jielong.model.lora import LoraConfig, adapters, add_adapters
from jielong.tokenizer.bpe import Tokenizer
from tests.foreign import CHATML, like_gemma, like_qwen
from tests.tiny import TEXTS, assistant, decoder, random_ids, tokenizer

ASKED = [{"role": "user", "content": "雨?"}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Another program's model, with rows to spare in its vocabulary."""
    path = tmp_path / "theirs"
    path.mkdir()
    like_qwen(path)
    ends = {"bos_token_id": None, "eos_token_id": 329}
    write_model(path, decoder(vocab_size=336), extra=ends)
    return path


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """A run's model of our own."""
    save_model(tmp_path / "run", assistant().model, assistant().tokenizer)
    return tmp_path / "run"


def test_an_imported_model_is_the_same_model(folder: Path, tmp_path: Path) -> None:
    imported = import_model(folder, tmp_path / "deep" / "ours")
    names = {path.name for path in (tmp_path / "deep" / "ours").iterdir()}
    assert names >= {"model.toml", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert not any(name.startswith(".") for name in names)
    loaded, direct = load_assistant(tmp_path / "deep" / "ours"), load_assistant(folder)
    ids = random_ids(2, 9, vocab_size=336)
    for other in (imported, direct):
        assert torch.equal(loaded.model(ids), other.model(ids))
        assert loaded.tokenizer.encode(TEXTS[0]) == other.tokenizer.encode(TEXTS[0])
        assert loaded.tokenizer.special == other.tokenizer.special
    assert (loaded.name, direct.name) == ("ours", "theirs")


def test_what_was_exported_comes_back(ours: Path, tmp_path: Path) -> None:
    export_folder(ours, tmp_path / "out", max_shard_bytes=20_000)
    back = load_assistant(tmp_path / "out")
    ids = random_ids(2, 9)
    assert torch.equal(back.model(ids), assistant().model(ids))
    assert back.tokenizer.sha256 == tokenizer().sha256
    assert back.tokenizer.begins == (1,)
    import_model(tmp_path / "out", tmp_path / "again")
    again = load_file(tmp_path / "again" / "model.safetensors")
    for name, tensor in load_file(ours / "model" / "model.safetensors").items():
        assert torch.equal(again[name], tensor)


def test_half_the_size_is_half_the_bits(ours: Path, tmp_path: Path) -> None:
    export_folder(ours, tmp_path / "out", dtype="bf16")
    stored = load_file(tmp_path / "out" / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.bfloat16}


def test_nothing_is_left_of_what_fails(folder: Path, ours: Path, tmp_path: Path) -> None:
    """No folder, and no temporary one beside it."""
    (folder / "tokenizer.json").unlink()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DataError, match="no tokenizer here"):
        import_model(folder, tmp_path / "out")
    strided = decoder(vocab_size=tokenizer().vocab_size, attention="dense strided:8")
    save_model(tmp_path / "run", strided, tokenizer())
    with pytest.raises(ConfigError, match="strided:8"):
        export_folder(ours, tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == before


def test_nothing_is_written_over(folder: Path, ours: Path, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    export_folder(ours, taken)  # an empty folder is as good as none
    for work in (lambda: export_folder(ours, taken), lambda: import_model(folder, taken)):
        with pytest.raises(RunDirectoryError, match="taken: holds something already"):
            work()
    with pytest.raises(RunDirectoryError, match="is a model of ours already"):
        import_model(ours, tmp_path / "out")


def test_a_tokenizer_that_does_not_fit_is_named(folder: Path) -> None:
    """Too many entries, or so few that the rest can be no rounding up."""
    for size in (337, 290):
        like_qwen(folder, size=size)
        with pytest.raises(
            CheckpointError, match=f"tokenizer has {size} entries and the model 336"
        ):
            load_assistant(folder)


def test_rows_that_stand_for_no_token_have_no_text(folder: Path) -> None:
    """A model may choose one all the same."""
    loaded = load_assistant(folder)
    assert loaded.tokenizer.vocab_size == 336
    assert loaded.tokenizer.decode([335, *loaded.tokenizer.encode("雨"), 331]) == "雨"


@pytest.mark.parametrize(
    ("template", "listed", "name"),
    [
        (None, None, "<|im_end|>"),  # its tokenizer_config.json says so
        (CHATML, None, "<|im_end|>"),
        (CHATML.replace("<|im_end|>", "<|endoftext|>"), None, "<|endoftext|>"),
        (CHATML, ["<|endoftext|>", "<|im_end|>"], "<|im_end|>"),
        (CHATML, ["<|endoftext|>"], "<|endoftext|>"),
        (None, ["<|endoftext|>", "<|im_start|>"], "<|endoftext|>"),
    ],
)
def test_what_ends_a_text(
    folder: Path, template: str | None, listed: list[str] | None, name: str
) -> None:
    """The chat template's end of a turn; the makers' list of ends comes before all else."""
    backend = like_qwen(folder, template=template)
    ends = None if listed is None else [backend.token_to_id(text) for text in listed]
    text = json.dumps({"eos_token_id": ends})
    (folder / "generation_config.json").write_text(text, encoding="utf-8")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["eos_token_id"] = None
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert load_assistant(folder).tokenizer.special.eos == backend.token_to_id(name)


def test_a_damaged_generation_config_is_named(folder: Path) -> None:
    (folder / "generation_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"generation_config\.json: cannot be read"):
        load_assistant(folder)


def test_a_model_that_was_taught_no_chat_says_so(folder: Path) -> None:
    like_qwen(folder, template=None)
    loaded = load_assistant(folder)
    with pytest.raises(DataError, match="was taught no conversation: continue a text with"):
        fit(loaded.tokenizer, ASKED, 32, 4)
    (done,) = generate(loaded, [loaded.tokenizer.encode("雨")], Sampling(max_tokens=3))
    assert done.ids


def test_a_chat_fits_the_context_by_the_models_own_template(folder: Path) -> None:
    loaded = load_assistant(folder)
    fitted = fit(loaded.tokenizer, ASKED, 64, 4)
    assert loaded.tokenizer.decode(fitted.ids) == "user\n雨?\nassistant\n"


def test_pickled_weights_are_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    torch.save({}, file)
    with pytest.raises(CheckpointError, match=r"model\.pt: is pickled"):
        load_assistant(file)
    with pytest.raises(CheckpointError, match=r"model\.pt: is pickled"):
        import_model(file, tmp_path / "out")


def test_the_commands(
    folder: Path, ours: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = [TEXTS[0][:3], "--strategy", "greedy", "--max-tokens", "5"]
    assert main(["generate", str(folder), *text]) == 0
    direct = capsys.readouterr().out
    assert main(["import", str(folder), str(tmp_path / "in")]) == 0
    read = capsys.readouterr()
    assert read.out == f"{tmp_path / 'in'}\n"
    assert "parameters, context 32 tokens" in read.err
    assert main(["generate", str(tmp_path / "in"), *text]) == 0
    assert capsys.readouterr().out == direct
    out = tmp_path / "out"
    assert main(["export", str(ours), str(out), "--max-shard-size", "20KB"]) == 0
    assert len(list(out.glob("*.safetensors"))) > 1
    assert main(["export", str(ours), str(out)]) == 1
    assert capsys.readouterr().err.endswith(f"{out}: holds something already: give a new folder\n")
    for wrong in ("0", "2TB", "much"):
        with pytest.raises(SystemExit, match="2"):
            main(["export", str(ours), str(out), "--max-shard-size", wrong])


def test_an_empty_prompt_begins_as_it_can(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing begins a text there, and from nothing a model cannot go on."""
    assert load_assistant(folder).tokenizer.begins == ()
    assert main(["generate", str(folder), "", "--max-tokens", "2"]) == 0


def test_a_chat_over_characters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = like_gemma(tmp_path)
    write_model(tmp_path, decoder(vocab_size=made.get_vocab_size(), context=96))
    loaded = load_assistant(tmp_path)
    assert loaded.tokenizer.special.eos == made.token_to_id("<end_of_turn>")
    fitted = fit(loaded.tokenizer, ASKED, 96, 4)
    assert fitted.ids[:2] == [2, made.token_to_id("<start_of_turn>")]
    assert Tokenizer.load(tmp_path).begins == (2,)


@pytest.fixture
def adapted(tmp_path: Path) -> Path:
    """A run that taught an adapter to the model of `ours`."""
    model = decoder(vocab_size=tokenizer().vocab_size)
    add_adapters(model, LoraConfig(rank=2))
    for layer in adapters(model).values():
        torch.nn.init.constant_(layer.lora_b, 0.1)
    save_model(tmp_path / "adapted", model, tokenizer())
    return tmp_path / "adapted"


def test_an_adapter_goes_out_and_comes_back_through_the_command_line(
    ours: Path, adapted: Path, tmp_path: Path
) -> None:
    adapter, merged = tmp_path / "adapter", tmp_path / "merged"
    assert main(["export", str(adapted), str(adapter), "--format", "peft"]) == 0
    names = {path.name for path in adapter.iterdir()}
    assert names == {"adapter_config.json", "adapter_model.safetensors"}
    assert main(["import", str(adapter), str(merged), "--base", str(ours)]) == 0
    ids = random_ids(2, 9)
    found, expected = (load_assistant(path).model(ids) for path in (merged, adapted))
    torch.testing.assert_close(found, expected)
    assert (found - load_assistant(ours).model(ids)).abs().max() > 0.1
    assert load_assistant(merged).tokenizer.sha256 == tokenizer().sha256


def test_an_adapter_and_a_model_are_not_taken_for_each_other(
    ours: Path, adapted: Path, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="run/model: was trained without adapters"):
        export_adapter(ours, tmp_path / "x")
    export_adapter(adapted, tmp_path / "adapter")
    with pytest.raises(RunDirectoryError, match="adapter: is an adapter: say with --base"):
        import_model(tmp_path / "adapter", tmp_path / "x")
    with pytest.raises(RunDirectoryError, match="theirs: is no PEFT adapter: leave --base out"):
        import_model(folder, tmp_path / "x", ours)
    with pytest.raises(CheckpointError, match=r"adapter_model\.safetensors: "):
        import_model(tmp_path / "adapter", tmp_path / "x", narrow(tmp_path))
    assert not (tmp_path / "x").exists()
    (adapted / "model" / "adapter.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"adapter\.safetensors: cannot be loaded"):
        export_adapter(adapted, tmp_path / "x")


def narrow(path: Path) -> Path:
    """A model of another width."""
    model = decoder(vocab_size=tokenizer().vocab_size, width=16)
    save_model(path / "narrow", model, tokenizer())
    return path / "narrow"
