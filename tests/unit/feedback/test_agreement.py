import numpy as np
import pytest

from jielong.core.errors import DataError
from jielong.feedback.agreement import differences, linear_ceiling, pairs, pairwise_agreement
from jielong.feedback.gold import ranks


def test_pairs_leave_out_ties_and_what_has_no_rank() -> None:
    assert pairs([1, 2, 3]) == [(0, 1), (0, 2), (1, 2)]
    assert pairs([3, 1, 1]) == [(1, 0), (2, 0)]
    assert pairs([2, None, 1]) == [(2, 0)]
    assert pairs([1, 1]) == []


def test_agreement_by_hand() -> None:
    # 1,2,3 against 1,3,2: pairs 01 and 02 agree, 12 does not.
    assert pairwise_agreement([[[1, 2, 3], [1, 3, 2]]]) == pytest.approx(2 / 3)
    assert pairwise_agreement([[[1, 2], [2, 1]], [[1, 2], [1, 2]]]) == pytest.approx(1 / 2)
    # The tie of one takes the pair out of the count.
    assert pairwise_agreement([[[1, 2, 2], [1, 2, 3]]]) == 1


def test_agreement_needs_a_common_pair() -> None:
    with pytest.raises(DataError, match="no pair was ordered by two annotators"):
        pairwise_agreement([[[1, 1], [1, 2]], [[1, 2]]])


def test_differences_are_better_less_worse() -> None:
    features = np.array([[[1.0, 0.0], [4.0, 2.0]]])
    assert differences(features, [[2, 1]]).tolist() == [[3.0, 2.0]]


def test_the_ceiling_without_noise_is_one_and_with_pure_noise_a_half() -> None:
    rng = np.random.default_rng(0)
    z = rng.standard_normal((600, 4, 3))
    exact = [ranks(scores) for scores in z @ np.array([1.0, -2.0, 0.5])]
    assert linear_ceiling(z[:400], exact[:400], z[400:], exact[400:]) > 0.995
    blind = [ranks(scores) for scores in rng.standard_normal((600, 4))]
    assert linear_ceiling(z[:400], blind[:400], z[400:], blind[400:]) == pytest.approx(
        0.5, abs=0.04
    )


def test_the_ceiling_fit_is_that_of_a_library() -> None:
    """The fitted weights against scikit-learn's logistic regression, each pair both ways round."""
    from sklearn.linear_model import LogisticRegression

    from jielong.feedback.agreement import _bradley_terry

    rng = np.random.default_rng(1)
    rows = rng.normal([0.6, 0.2, 0.0, -0.3], 1.0, (500, 4))
    peer = LogisticRegression(C=1 / 2e-3, fit_intercept=False, tol=1e-10)
    peer.fit(np.vstack([rows, -rows]), np.repeat([1, 0], 500))
    assert _bradley_terry(rows) == pytest.approx(peer.coef_[0], rel=1e-4)
