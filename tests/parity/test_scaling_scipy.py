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
    truth = (50 * n**-0.5 + 500 / d) ** 0.15
    losses = truth * (1 + 0.005 * random.standard_normal(16))
    losses[seed] *= 1.1

    def law(x: np.ndarray, n: float, d: float) -> float:
        return (np.exp(x[0]) * n ** -x[1] + np.exp(x[2]) / d) ** x[3]

    theirs = least_squares(
        lambda x: law(x, n, d) / losses - 1,
        [4, 0.5, 6, 0.15],
        bounds=([-9, 0.05, -9, 0.03], [40, 1.5, 40, 1.0]),
        loss="huber",
        f_scale=DELTA,
        x_scale=[1, 0.1, 1, 0.01],
        xtol=1e-12,
    )
    ours = fit(list(zip(1e6 * n, 1e6 * d, losses, strict=True)))
    for size, text in ((0.2, 0.7), (3.7, 5.6), (5.0, 12.0)):
        expected = law(theirs.x, size, text)
        assert ours.loss(1e6 * size, 1e6 * text) == pytest.approx(expected, rel=2e-3)
