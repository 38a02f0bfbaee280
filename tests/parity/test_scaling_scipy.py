"""The law that is fitted on a grid is the one that SciPy's general solver finds."""

import numpy as np
import pytest
from scipy.optimize import least_squares

from jielong.evaluation.scaling import DELTA, fit

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("seed", range(3))
def test_the_fit_is_the_general_solvers(seed: int) -> None:
    """Noise of half a per cent, and one run in sixteen that went wrong."""
    random = np.random.default_rng(seed)
    n, d = (a.ravel() for a in np.meshgrid([0.2, 0.6, 1.3, 3.7], [0.7, 1.4, 2.8, 5.6]))
    truth = 1.2 + 0.3 * n**-0.35 + 1.1 * d**-0.4
    losses = truth * (1 + 0.005 * random.standard_normal(16))
    losses[seed] *= 1.1

    def errors(x: np.ndarray) -> np.ndarray:
        return (x[0] + x[1] * n ** -x[2] + x[3] * d ** -x[4]) / losses - 1

    bounds = ([0, 0, 0.05, 0, 0.05], [9, 9, 1.5, 9, 1.5])
    theirs = least_squares(
        errors, [1, 0.3, 0.3, 1, 0.3], bounds=bounds, loss="huber", f_scale=DELTA, xtol=1e-12
    )
    ours = fit(list(zip(1e6 * n, 1e6 * d, losses, strict=True)))
    for size, text in ((0.2, 0.7), (3.7, 5.6), (5.0, 12.0)):
        expected = (
            theirs.x[0] + theirs.x[1] * size ** -theirs.x[2] + theirs.x[3] * text ** -theirs.x[4]
        )
        assert ours.loss(1e6 * size, 1e6 * text) == pytest.approx(expected, rel=2e-3)
