import pytest

from jielong.core.errors import DataError
from jielong.evaluation.translation import chrf


def test_chrf_by_hand() -> None:
    """ "ab c" against "abd", blanks left out: "abc" and "abd".

    Characters: 2 of 3 are right; pairs: ab of ab, bc: 1 of 2; triples: 0 of 1; longer ones: none on
    either side. Precision and recall are both (2/3 + 1/2 + 0) / 3 = 7/18.
    """
    assert chrf(["ab c"], ["abd"]) == pytest.approx(100 * 7 / 18)


def test_recall_counts_twice() -> None:
    """Of "a" and "ab" only single characters are on both sides: P = 1, R = 1/2, F = 5PR/(4P+R)."""
    assert chrf(["a"], ["ab"]) == pytest.approx(100 * 5 * 0.5 / 4.5)
    assert chrf(["ab"], ["a"]) == pytest.approx(100 * 5 * 0.5 / 3)


def test_ends() -> None:
    assert chrf(["same 一样"], ["same 一样"]) == pytest.approx(100)
    assert chrf(["xyz"], ["abc"]) == 0
    assert chrf([""], ["abc"]) == 0


def test_unpaired_answers_are_refused() -> None:
    with pytest.raises(DataError, match="1 answers, 0 references"):
        chrf(["a"], [])
