import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from jielong.core import config
from jielong.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Inner:
    n_layer: int
    rate: float = 0.5

    def __post_init__(self) -> None:
        if self.n_layer < 1:
            raise ValueError(f"n_layer: {self.n_layer}: must be at least 1")


@dataclass(frozen=True, kw_only=True)
class Outer:
    run_dir: str
    model: Inner
    resume: bool = False
    kind: Literal["adamw", "muon"] = "adamw"
    limit: int | None = None
    alpha: float | Literal["match"] = 9.0
    files: tuple[str, ...] = ()
    shares: dict[str, float] = field(default_factory=dict)
    sources: dict[str, Inner] = field(default_factory=dict)


VALUES = {"run_dir": "runs/x", "model": {"n_layer": 2}}


def changed(**values: object) -> dict:
    return VALUES | values


def test_defaults_and_values_are_taken() -> None:
    read = config.parse(
        Outer,
        changed(
            kind="muon",
            limit=3,
            alpha="match",
            files=["a", "b"],
            shares={"chain": 1, "字": 0.5},
            sources={"laws": {"n_layer": 4}},
        ),
    )
    assert read == Outer(
        run_dir="runs/x",
        model=Inner(n_layer=2, rate=0.5),
        kind="muon",
        limit=3,
        alpha="match",
        files=("a", "b"),
        shares={"chain": 1.0, "字": 0.5},
        sources={"laws": Inner(n_layer=4)},
    )
    assert type(read.shares["chain"]) is float  # a whole number may stand for a float


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (changed(run_dri="x"), "run_dri: no such setting; did you mean 'run_dir'?"),
        (
            changed(model={"n_layer": 2, "n_layers": 3}),
            "model.n_layers: no such setting; did you mean 'n_layer'?",
        ),
        (changed(qqq=1), "qqq: no such setting; known settings: run_dir, model"),
        ({"run_dir": "x"}, "model: missing"),
        (changed(model={}), "model.n_layer: missing"),
        (changed(model={"n_layer": "2"}), "model.n_layer: '2' is a str: expected int"),
        (changed(model={"n_layer": 2.0}), "model.n_layer: 2.0 is a float: expected int"),
        (changed(model={"n_layer": True}), "model.n_layer: True is a bool: expected int"),
        (changed(model={"n_layer": 2, "rate": True}), "model.rate: True is a bool"),
        (changed(model=3), "model: 3 is a int: expected a table of settings"),
        (changed(resume=1), "resume: 1 is a int: expected bool"),
        (changed(kind="sgd"), "kind: 'sgd': choose one of 'adamw', 'muon'"),
        (changed(alpha="mtach"), "alpha: 'mtach': choose one of 'match'"),
        (changed(alpha=True), "alpha: True is a bool: expected float"),
        (changed(limit="x"), "limit: 'x' is a str: expected int"),
        (changed(files="a"), "files: 'a' is a str: expected a list"),
        (changed(files=["a", 1]), "files[1]: 1 is a int: expected str"),
        (changed(shares=[1]), "shares: [1] is a list: expected a table"),
        (changed(shares={"a": "b"}), "shares.a: 'b' is a str: expected float"),
        (changed(sources={"laws": {"n_layer": 1, "x": 2}}), "sources.laws.x: no such setting"),
        (changed(model={"n_layer": 0}), "model.n_layer: 0: must be at least 1"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_path(values: dict, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.parse(Outer, values)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text('run_dir = "runs/x"\n[model]\nn_layer = 2\n', encoding="utf-8")
    return path


def test_overrides_win_over_the_recipe(recipe: Path) -> None:
    overrides = ["model.n_layer=7", "model.rate=1e-3", "run_dir=runs/new one", 'files=["a"]']
    overrides += ["shares.chain=2", "kind=muon", "resume=true", "sources={laws={n_layer=3}}"]
    read = config.load(Outer, recipe, overrides)
    assert read.model == Inner(n_layer=7, rate=0.001)
    assert (read.run_dir, read.files, read.kind) == ("runs/new one", ("a",), "muon")
    assert (read.shares, read.resume) == ({"chain": 2.0}, True)
    assert read.sources == {"laws": Inner(n_layer=3)}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("run_dir", "run_dir: not an override: write key=value"),
        ("=3", "=3: not an override"),
        ("run_dir.x=3", "run_dir.x: run_dir is a value, not a table"),
        ("model.n_layers=3", "model.n_layers: no such setting; did you mean 'n_layer'?"),
        ("model.n_layer=three", "model.n_layer: 'three' is a str"),
    ],
)
def test_a_bad_override_is_refused(recipe: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(Outer, recipe, [override])
    assert message in str(caught.value)


def test_a_recipe_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.toml: no such recipe"):
        config.load(Outer, tmp_path / "missing.toml")
    with pytest.raises(ConfigError, match="not a TOML file"):
        config.load(Outer, tmp_path)
    for content in (b"run_dir = \n", b"\xff\xfe\x00binary"):
        path = tmp_path / "bad.toml"
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=r"bad\.toml: not a TOML file"):
            config.load(Outer, path)


def test_dumps_writes_every_default_as_plain_toml() -> None:
    text = config.dumps(config.parse(Outer, changed(sources={"laws": {"n_layer": 4}})))
    assert tomllib.loads(text) == {
        "run_dir": "runs/x",
        "resume": False,
        "kind": "adamw",
        "alpha": 9.0,
        "files": [],
        "model": {"n_layer": 2, "rate": 0.5},
        "shares": {},
        "sources": {"laws": {"n_layer": 4, "rate": 0.5}},
    }
