import io
import tomllib
from pathlib import Path

import pytest
from rich.console import Console

from jielong.cli import main
from jielong.core.errors import ConfigError
from jielong.evaluation.inspect_sizes import find, print_sizes
from jielong.generation.loading import save_model
from jielong.model.published import PUBLISHED
from jielong.model.sizes import parameters
from tests.tiny import assistant, encoder_decoder, tokenizer

RECIPE = """
run_dir = "runs/x"
data = "DATA"
[model]
context = 32
n_layer = 2
width = 24
n_head = 4
n_kv_head = 2
ffn_width = 40
"""


SHAPE = tomllib.loads(RECIPE)["model"]


def printed(*names: str, vocab_size: int | None = None) -> str:
    console = Console(file=io.StringIO(), width=240, highlight=False)
    print_sizes(find(names, vocab_size), console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def recipe(folder: Path, text: str = RECIPE) -> Path:
    path = folder / "pretrain.toml"
    path.write_text(text.replace("DATA", (folder / "tokens").as_posix()), encoding="utf-8")
    return path


def test_without_a_name_all_published_ones_come_with_their_notes() -> None:
    text = printed()
    for model in PUBLISHED:
        assert model.name in text
        assert model.note in text
        assert model.about in text
    assert "174,604,259,328" in text
    assert "arXiv:2204.02311" in text


def test_the_beginning_of_a_name_is_enough() -> None:
    assert [found.name for found in find(["GPT2-1", "gpt1"])] == [
        "gpt2-124m",
        "gpt2-1558m",
        "gpt1-117m",
    ]
    text = printed("gpt2-124m")
    assert "gpt3" not in text
    assert "124,439,808" in text


def test_a_finished_model(tmp_path: Path) -> None:
    save_model(tmp_path / "sft", assistant().model, assistant().tokenizer)
    found = find([str(tmp_path / "sft")])
    assert [(model.name, model.config) for model in found] == [("sft", assistant().model.config)]
    text = printed(str(tmp_path / "sft"))
    assert f"{sum(p.numel() for p in assistant().model.parameters()):,}" in text
    assert "4 / 2" in text  # heads
    assert "paper" not in text


def test_a_recipe_before_and_after_its_tokenizer(tmp_path: Path) -> None:
    path = str(recipe(tmp_path))
    with pytest.raises(ConfigError, match=r"tokens/tokenizer.json\) is not made yet.*--vocab-size"):
        find([path])
    assert find([path], 77)[0].config.vocab_size == 77
    (tmp_path / "tokens").mkdir()
    tokenizer().save(tmp_path / "tokens")
    assert find([path])[0].config == assistant().model.config.__class__(
        vocab_size=tokenizer().vocab_size,
        context=32,
        n_layer=2,
        width=24,
        n_head=4,
        n_kv_head=2,
        ffn_width=40,
    )
    own = recipe(tmp_path, RECIPE + "vocab_size = 50\n")
    assert find([str(own)])[0].config.vocab_size == 50


def test_what_a_recipe_is_trained_for_is_counted(tmp_path: Path) -> None:
    text = 'objective = "encoder_decoder"\n' + RECIPE
    (pair,) = find([str(recipe(tmp_path, text))], 77)
    built = sum(p.numel() for p in encoder_decoder(**SHAPE, vocab_size=77).parameters())
    assert parameters(pair.config).total == built
    text = 'objective = "masked"\n' + RECIPE
    assert find([str(recipe(tmp_path, text))], 77)[0].config.bidirectional


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gpt2-744m", "gpt2-744m: no recipe, no model, .* name: did you mean gpt2-774m"),
        ("zzz", "zzz: .* published ones are gpt1-117m, "),
        ("nowhere.toml", "nowhere.toml: no such recipe"),
    ],
)
def test_what_is_nothing_is_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        find([name])


def test_a_recipe_without_a_model_or_with_a_wrong_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no \[model\]: give a recipe for pretraining"):
        find([str(recipe(tmp_path, 'run_dir = "x"\n'))])
    with pytest.raises(ConfigError, match=r"^model\.n_heads: no such setting"):
        find([str(recipe(tmp_path, RECIPE + "n_heads = 3\n"))])


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sizes", "gpt1"]) == 0
    assert "116,534,784" in capsys.readouterr().out
    assert main(["sizes", "recipes/nowhere.toml"]) == 1
    assert capsys.readouterr().err.startswith("recipes/nowhere.toml: no such recipe")
