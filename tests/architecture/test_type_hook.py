"""The tests' hook is on: a wrong type is refused at the call, before it does harm further down."""

import pytest
from jaxtyping import TypeCheckError

from jielong.core.recipes import recipe_path


def test_types_are_checked_while_tests_run() -> None:
    with pytest.raises(TypeCheckError):
        recipe_path(3)  # pyright: ignore[reportArgumentType]
