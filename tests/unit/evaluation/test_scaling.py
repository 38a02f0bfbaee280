"""The law is found again where it is known, and what is shipped is what was measured."""

import math

import numpy as np
import pytest

from jielong.core.errors import DataError
from jielong.evaluation.scaling import Law, fit, fresh_worth, shipped

TRUE = Law(size=50.0, size_exponent=0.5, text=500.0, exponent=0.15)
SIZES, TEXTS = (2e5, 6e5, 1.3e6, 3.7e6), (0.7e6, 1.4e6, 2.8e6, 5.6e6)


def points(noise: float = 0.0, seed: int = 0) -> list[tuple[float, float, float]]:
    random = np.random.default_rng(seed)
    return [
        (n, d, loss_by_hand(n, d) * (1 + noise * random.standard_normal()))
        for n in SIZES
        for d in TEXTS
    ]


def loss_by_hand(n: float, d: float) -> float:
    return (50 / (n / 1e6) ** 0.5 + 500 / (d / 1e6)) ** 0.15


def test_the_law_by_hand() -> None:
    """At a million of each both powers are 1; at 16, a quarter and a sixteenth of the terms."""
    law = Law(size=8.0, size_exponent=0.5, text=1.0, exponent=0.5)
    assert law.loss(1e6, 1e6) == pytest.approx(3.0)
    assert law.loss(16e6, 16e6) == pytest.approx((2 + 1 / 16) ** 0.5)


def test_a_known_law_is_found_again() -> None:
    found = fit(points())
    assert found.size_exponent == pytest.approx(TRUE.size_exponent, abs=2e-3)
    assert found.exponent == pytest.approx(TRUE.exponent, abs=1e-3)
    assert found.loss(8e6, 40e6) == pytest.approx(loss_by_hand(8e6, 40e6), rel=1e-4)


def test_noise_of_a_run_moves_predictions_little() -> None:
    found = fit(points(noise=0.003))
    assert found.loss(4e6, 12e6) == pytest.approx(loss_by_hand(4e6, 12e6), rel=0.01)


def test_one_failed_run_does_not_bend_the_law() -> None:
    runs = points()
    n, d, loss = runs[5]
    runs[5] = (n, d, 1.2 * loss)
    assert fit(runs).loss(4e6, 12e6) == pytest.approx(loss_by_hand(4e6, 12e6), rel=0.01)


@pytest.mark.parametrize("rises", ["size", "text"])
def test_a_term_that_is_not_there_is_not_negative(rises: str) -> None:
    """Losses that rise with one of the two: no law of this form; the nearest leaves it out."""
    runs = []
    for n in SIZES:
        for d in TEXTS:
            good, bad = (d, n) if rises == "size" else (n, d)
            runs.append((n, d, (100 / (good / 1e6) ** (1 if rises == "size" else 0.5)) ** 0.15))
            runs[-1] = (n, d, runs[-1][2] * (1 + 0.003 * bad / 1e6))
    found = fit(runs)
    assert min(found.size, found.text) == 0
    assert max(found.size, found.text) > 0


def test_too_few_runs_are_refused() -> None:
    with pytest.raises(DataError, match="4 runs: give at least 5"):
        fit(points()[:4])


def test_reading_again_is_worth_less_by_hand() -> None:
    """Once is once; 1 + R* times is U (1 + R* (1 - 1/e)); for ever is U (1 + R*)."""
    assert fresh_worth(3.0, 10.0) == 3.0
    assert fresh_worth(10.0, 10.0) == 10.0
    many = fresh_worth(10.0 * 16.39, 10.0)
    assert many == pytest.approx(10 * (1 + 15.39 * (1 - math.exp(-1))))
    assert fresh_worth(1e9, 10.0) == pytest.approx(163.9)
    assert fresh_worth(20.0, 10.0) == pytest.approx(20, rel=0.02)


def test_the_shipped_law_is_that_of_its_points() -> None:
    study = shipped()
    found = fit(study.points)
    for n, d, measured in study.points:
        assert found.loss(n, d) == pytest.approx(study.law.loss(n, d), rel=1e-6)
        assert study.law.loss(n, d) == pytest.approx(measured, rel=0.03)
    assert len({n for n, _, _ in study.points}) >= 4
