import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from jielong.cli import main
from jielong.core.errors import CheckpointError, ConfigError, DataError, RunDirectoryError
from jielong.generation.conversation import fit
from jielong.generation.engine import generate
from jielong.generation.exchange import export_folder, export_gguf, import_model
from jielong.generation.loading import load_assistant, save_model
from jielong.generation.sampling import Sampling
from jielong.model.formats.hugging_face import write_model
from jielong.tokenizer.bpe import Tokenizer
from jielong.tokenizer.chat_template import render
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


def test_others_may_read_what_was_written(folder: Path, ours: Path, tmp_path: Path) -> None:
    import_model(folder, tmp_path / "in")
    export_folder(ours, tmp_path / "out", max_shard_bytes=20_000)
    weights = [*(tmp_path / "in").glob("*.safetensors"), *(tmp_path / "out").glob("*.safetensors")]
    assert len(weights) > 2
    assert {path.stat().st_mode & 0o777 for path in weights} == {0o644}


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
    for text in ("{", "[]", "[" * 100_000):
        (folder / "generation_config.json").write_text(text, encoding="utf-8")
        with pytest.raises(CheckpointError, match=r"generation_config\.json: cannot be read"):
            load_assistant(folder)


@pytest.mark.parametrize("name", ["generation_config.json", "config.json"])
@pytest.mark.parametrize("end", [7, [7, 8], 328])
def test_what_ends_a_text_comes_along(tmp_path: Path, name: str, end: int | list[int]) -> None:
    """Said in either file, not what the tokenizer says; an ordinary token or one of control."""
    folder = folder_of_theirs(tmp_path)
    (folder / "generation_config.json").write_text('{"temperature": 0.7}', encoding="utf-8")
    file = folder / name
    said = json.loads(file.read_text(encoding="utf-8")) | {"eos_token_id": end}
    if name != "config.json":
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        del config["eos_token_id"]
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    file.write_text(json.dumps(said), encoding="utf-8")
    first = end[0] if isinstance(end, list) else end
    import_model(folder, tmp_path / "imported")
    export_folder(tmp_path / "imported", tmp_path / "exported")
    export_gguf(folder, tmp_path / "m.gguf")
    import_model(tmp_path / "m.gguf", tmp_path / "again")
    for place in (folder, *(tmp_path / n for n in ("imported", "exported", "m.gguf", "again"))):
        assert load_assistant(place).tokenizer.special.eos == first, place
    for kept in ("imported", "exported"):
        generation = json.loads((tmp_path / kept / "generation_config.json").read_bytes())
        expected = end if name == "generation_config.json" else first
        assert (generation["eos_token_id"], generation["temperature"]) == (expected, 0.7)
    spelled = load_assistant(folder).tokenizer.decode([7, 8])
    assert load_assistant(tmp_path / "again").tokenizer.encode(spelled)


def test_what_else_their_settings_say_comes_along(folder: Path, tmp_path: Path) -> None:
    """Whatever it is: half a character has no bytes."""
    text = json.dumps({"note": "\ud800"})
    (folder / "generation_config.json").write_text(text, encoding="utf-8")
    import_model(folder, tmp_path / "in")
    said = json.loads((tmp_path / "in" / "generation_config.json").read_bytes())
    assert said == {"note": "\ud800", "eos_token_id": 329}


def test_an_end_that_no_row_stands_for_is_none(folder: Path) -> None:
    """It can never be chosen."""
    text = json.dumps({"eos_token_id": [-1, 336, 7]})
    (folder / "generation_config.json").write_text(text, encoding="utf-8")
    assert load_assistant(folder).tokenizer.special.eos == 7


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


def test_from_nothing_no_model_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither the tokenizer nor the model knows a token that begins or ends a text."""
    backend = like_qwen(tmp_path, template=None)
    content = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    (tmp_path / "tokenizer.json").write_text(json.dumps(content | {"added_tokens": []}))
    size = backend.get_vocab_size() - 3
    for settings in ({}, {"add_bos_token": True}):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
        write_model(tmp_path, decoder(vocab_size=size))
        for words in (["generate", str(tmp_path), ""], ["inspect", str(tmp_path), ""]):
            assert main(words) == 1
            line = "prompt: empty, and no token begins or ends a text here: give a text\n"
            assert capsys.readouterr().err == line
        assert main(["generate", str(tmp_path), "雨", "--max-tokens", "2"]) == 0
        capsys.readouterr()


def test_a_broken_template_stops_no_continuation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    like_qwen(tmp_path, template="{{ 1 / 0 }}")
    write_model(tmp_path, decoder(vocab_size=330))
    assert main(["generate", str(tmp_path), "雨", "--max-tokens", "2"]) == 0
    assert capsys.readouterr().err == ""


def test_a_chat_over_characters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = like_gemma(tmp_path)
    write_model(tmp_path, decoder(vocab_size=made.get_vocab_size(), context=96))
    loaded = load_assistant(tmp_path)
    assert loaded.tokenizer.special.eos == made.token_to_id("<end_of_turn>")
    fitted = fit(loaded.tokenizer, ASKED, 96, 4)
    assert fitted.ids[:2] == [2, made.token_to_id("<start_of_turn>")]
    assert Tokenizer.load(tmp_path).begins == (2,)


@pytest.mark.parametrize("kind", ["ours", "theirs"])
def test_a_gguf_file_is_a_model_as_well(kind: str, ours: Path, tmp_path: Path) -> None:
    """Asked as it is, imported, and exported again as a folder and as a file: always the same."""
    source = ours
    if kind == "theirs":
        source = folder_of_theirs(tmp_path)
    expected = load_assistant(source)
    export_gguf(source, tmp_path / "a.gguf")
    import_model(tmp_path / "a.gguf", tmp_path / "imported")
    export_folder(tmp_path / "a.gguf", tmp_path / "folder")
    export_gguf(tmp_path / "a.gguf", tmp_path / "b.gguf")
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()
    ids = random_ids(2, 9)
    for name in ("a.gguf", "imported", "folder", "b.gguf"):
        found = load_assistant(tmp_path / name)
        assert torch.equal(found.model(ids), expected.model(ids))
        assert [found.tokenizer.encode(text) for text in TEXTS] == [
            expected.tokenizer.encode(text) for text in TEXTS
        ]
        assert found.tokenizer.begins == expected.tokenizer.begins
        assert found.tokenizer.special.eos == expected.tokenizer.special.eos
        laid_out = render(found.tokenizer, ASKED, generation_prompt=True)
        assert laid_out.ids == render(expected.tokenizer, ASKED, generation_prompt=True).ids
    assert load_assistant(tmp_path / "a.gguf").name == "a"


def folder_of_theirs(tmp_path: Path) -> Path:
    """Cut as GPT-2's texts are, which is a way that GGUF files can name."""
    source = tmp_path / "theirs"
    source.mkdir()
    like_qwen(source)
    content = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
    cut = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    (source / "tokenizer.json").write_text(json.dumps(content | {"pre_tokenizer": cut}))
    write_model(source, decoder(vocab_size=330), extra={"eos_token_id": 329})
    return source


def test_a_tokenizer_that_gguf_files_cannot_name_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"pre_tokenizer is none .* \(--format hf\)"):
        export_gguf(folder, tmp_path / "out.gguf")
    assert not (tmp_path / "out.gguf").exists()


def test_half_a_gguf_file_is_never_left(ours: Path, tmp_path: Path) -> None:
    (tmp_path / "there.gguf").write_bytes(b"precious")
    with pytest.raises(RunDirectoryError, match=r"there\.gguf: holds something already"):
        export_gguf(ours, tmp_path / "there.gguf")
    assert (tmp_path / "there.gguf").read_bytes() == b"precious"
    strided = decoder(vocab_size=tokenizer().vocab_size, attention="dense strided:8")
    save_model(tmp_path / "strided", strided, tokenizer())
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ConfigError, match="attention"):
        export_gguf(tmp_path / "strided", tmp_path / "out.gguf")
    assert sorted(tmp_path.iterdir()) == before


def test_numbers_that_a_format_does_not_have(
    ours: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for options, line in (
        (["--format", "gguf", "--dtype", "bf16"], "--dtype bf16: --format gguf has no such"),
        (["--dtype", "q8_0"], "--dtype q8_0: --format hf has no such"),
        (["--format", "gguf", "--max-shard-size", "1MB"], "--max-shard-size: a GGUF file is one"),
        (["--format", "peft", "--dtype", "q8_0"], "--dtype q8_0: --format peft has no such"),
        (["--format", "peft", "--max-shard-size", "1MB"], "--max-shard-size: an adapter is one"),
    ):
        with pytest.raises(SystemExit, match="2"):
            main(["export", str(ours), str(tmp_path / "out"), *options])
        assert line in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main(["export", str(ours), str(tmp_path / "m.gguf")]) == 0
    assert (tmp_path / "m.gguf").is_file()
    assert main(["sizes", str(tmp_path / "m.gguf")]) == 0
    assert main(["generate", str(tmp_path / "m.gguf"), "雨", "--max-tokens", "3"]) == 0
