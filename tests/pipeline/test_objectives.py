"""Models of the other objectives through the command line: trained, asked, and asked wrongly."""

import json
from pathlib import Path

import pytest

from tests.pipeline.conftest import jielong

pytestmark = pytest.mark.pipeline


@pytest.fixture(scope="module")
def runs(chain: Path, tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """A tiny model of each objective, trained for a moment."""
    top = tmp_path_factory.mktemp("objectives")
    for name in ("masked", "prefix", "encoder-decoder"):
        recipe = repository / "recipes" / "tiny" / f"pretrain-{name}.toml"
        common = ("steps=60", f"data={chain / 'tokenize'}")
        jielong("pretrain", recipe, *common, f"run_dir={top / name}")
    return top


@pytest.mark.parametrize("name", ["prefix", "encoder-decoder"])
@pytest.mark.parametrize("strategy", ["greedy", "sample", "beam"])
def test_generate_works_the_same_for_all(name: str, strategy: str, runs: Path) -> None:
    command = ("generate", runs / name, "中华人民共和国", "--strategy", strategy)
    first, again = (jielong(*command, "--max-tokens", "12").stdout for _ in range(2))
    assert len(first) > 1  # white space, perhaps: it was trained for a moment
    assert first == again


def test_a_masked_model_fills_the_gaps(runs: Path) -> None:
    command = ("evaluate", "--fill", runs / "masked", "中华人民[MASK]和国[MASK]")
    rows = [line.split("\t") for line in jielong(*command).stdout.splitlines()]
    assert [row[0] for row in rows] == ["1"] * 5 + ["2"] * 5
    shares = [float(row[1]) for row in rows]
    assert shares[:5] == sorted(shares[:5], reverse=True)
    assert all(row[2] for row in rows)
    assert len(jielong(*command, "-k", "2").stdout.splitlines()) == 4


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("generate", "masked", "天"), "masked: a masked model, which fills gaps: ask it with"),
        (("inspect", "encoder-decoder", "天"), "encoder-decoder: an encoder-decoder, which contin"),
        (("export", "prefix", "out"), "prefix: a prefix model, which continues texts: ask it with"),
        (("evaluate", "--fill", "prefix", "天[MASK]"), "prefix: a prefix model, which continues"),
        (("evaluate", "--fill", "masked", "天"), "'天': has no gap: write [MASK] where a token"),
    ],
)
def test_a_model_asked_for_what_it_cannot_do_says_so(
    arguments: tuple[str, ...], line: str, runs: Path
) -> None:
    names = {"masked", "prefix", "encoder-decoder"}
    done = jielong(*(runs / a if a in names else a for a in arguments), check=False)
    assert done.returncode == 1
    assert line in done.stderr
    assert done.stderr.count("\n") == 1


def test_evaluate_wants_a_recipe_or_a_text(runs: Path) -> None:
    for arguments in ((), ("recipe.toml", "--fill", str(runs / "masked"), "天[MASK]")):
        done = jielong("evaluate", *arguments, check=False)
        assert done.returncode == 2
        assert "give a RECIPE.toml, or --fill RUN TEXT" in done.stderr


def test_fields_of_words_are_learned_better_than_by_always_saying_one(
    chain: Path, tmp_path: Path, repository: Path
) -> None:
    for name in ("finetune", "finetune-lambda-0"):
        recipe = repository / "recipes" / "tiny" / f"{name}.toml"
        parents = (f"init_from={chain / 'pretrain'}", f"prepared={chain / 'prepare'}")
        run = tmp_path / name
        done = jielong("finetune", recipe, *parents, "batch=128", f"run_dir={run}")
        assert "macro F1" in " ".join(done.stderr.split())
        scores = json.loads((run / "evaluation.json").read_text())
        assert scores["accuracy"]["low"] > scores["majority"]["accuracy"]["high"]
        assert scores["macro_f1"] > scores["majority"]["macro_f1"] + 0.2
