from pathlib import Path

import pytest

from jielong.core import recipes
from jielong.core.errors import ConfigError


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with two recipes, whose package folder is returned."""
    for name in ("small/pretrain", "small/sft"):
        path = tmp_path / "recipes" / f"{name}.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("seed = 1\n", encoding="utf-8")
    monkeypatch.setattr(recipes, "PACKAGE", tmp_path / "jielong")
    return tmp_path / "jielong"


def test_a_checkout_keeps_its_recipes_at_the_top(package: Path) -> None:
    assert recipes.recipe_path("small/sft") == package.parent / "recipes" / "small" / "sft.toml"


def test_an_installed_package_uses_its_own_copy(package: Path) -> None:
    own = package / "_recipes" / "small" / "sft.toml"
    own.parent.mkdir(parents=True)
    own.touch()
    assert recipes.recipe_path("small/sft") == own


def test_an_unknown_name_is_answered_with_the_nearest(package: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"recipe: small/pretrian: .* did you mean 'small/pretrain'\?"
    ):
        recipes.recipe_path("small/pretrian")


def test_a_package_without_recipes_says_so(package: Path) -> None:
    (package / "_recipes").mkdir(parents=True)
    with pytest.raises(ConfigError, match="holds none: install jielong again"):
        recipes.recipe_path("small/sft")
