import random

import pytest
from sklearn.metrics import accuracy_score, f1_score

from jielong.evaluation.classification import classification_score

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("seed", range(20))
def test_scores_are_scikit_learns(seed: int) -> None:
    """Also where a class is never asked for, or never answered."""
    draw = random.Random(seed)
    expected = [draw.choice("abcd"[: 2 + seed % 3]) for _ in range(40)]
    answered = [e if draw.random() < 0.6 else draw.choice("bcde") for e in expected]
    found = classification_score(expected, answered)
    assert found.accuracy.estimate == pytest.approx(accuracy_score(expected, answered))
    macro = f1_score(expected, answered, average="macro", zero_division=0)
    assert found.macro_f1 == pytest.approx(macro)
