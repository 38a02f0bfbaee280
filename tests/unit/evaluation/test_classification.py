import pytest

from jielong.core.errors import DataError
from jielong.evaluation.classification import classification_score, majority


def test_scores_by_hand() -> None:
    """Of a: 2 right, none wrongly, 1 missed, F1 = 4/5; of b: 1, 1, 1, 2/4; of c, never asked: 0.

    Accuracy 3/5.
    """
    found = classification_score(["a", "a", "a", "b", "b"], ["a", "a", "b", "b", "c"])
    assert found.n == 5
    assert found.accuracy.estimate == pytest.approx(3 / 5)
    assert found.accuracy.low < 3 / 5 < found.accuracy.high
    assert found.macro_f1 == pytest.approx((4 / 5 + 2 / 4 + 0) / 3)


def test_the_commonest_label() -> None:
    assert majority(["b", "a", "b", "c"]) == "b"
    assert majority(["b", "a"]) == "a"


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(DataError, match="0 answers to 0 examples"):
        classification_score([], [])
    with pytest.raises(DataError, match="1 answers to 2 examples"):
        classification_score(["a", "b"], ["a"])
