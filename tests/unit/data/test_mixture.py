from collections import Counter

import numpy as np
import pytest

from jielong.core import config as configs
from jielong.core.errors import ConfigError
from jielong.data.mixture import PhaseConfig, order, table

SIZES = {"novel": 1_000_000, "laws": 8_000_000, "own": 0}


def phase(**values: object) -> PhaseConfig:
    return configs.parse(PhaseConfig, values, "phases.first")


def test_epochs_follow_from_weight_budget_and_size() -> None:
    rows = table(phase(budget_mb=4, weights={"novel": 3, "laws": 1}), SIZES, "phases.first")
    # 3 of 4 MB of a novel of 1 MB are three readings; 1 of 8 MB an eighth.
    assert [(row.source, row.share, row.epochs) for row in rows] == [
        ("novel", 0.75, 3.0),
        ("laws", 0.25, 0.125),
    ]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"budget_mb": 0.0, "weights": {"laws": 1.0}}, r"phases\.first\.budget_mb: 0\.0"),
        ({"budget_mb": 1.0, "weights": {"laws": -1.0}}, r"weights\.laws: -1\.0"),
        ({"budget_mb": 1.0, "weights": {"laws": 0.0}}, "weights: sum to 0"),
        ({"budget_mb": 1.0}, "weights: sum to 0"),
    ],
)
def test_a_phase_that_means_nothing_is_refused(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        phase(**values)


def test_a_weight_needs_text_behind_it() -> None:
    for name in ("own", "nowhere"):
        with pytest.raises(ConfigError, match=rf"weights\.{name}: .* choose from novel, laws"):
            table(phase(budget_mb=1, weights={name: 1}), SIZES, "phases.first")


def test_reading_by_heart_has_to_be_asked_for() -> None:
    often = {"budget_mb": 9, "weights": {"novel": 1}}
    with pytest.raises(ConfigError, match=r"9\.0 epochs of 1\.00 MB"):
        table(phase(**often), SIZES, "phases.first")
    rows = table(phase(**often, allow_repeat=True), SIZES, "phases.first")
    assert rows[0].epochs == 9


def drawn(seed: int = 0) -> tuple[list[str], np.ndarray]:
    sources = ["novel"] * 20 + ["laws"] * 100
    ids = [f"{number:016x}" for number in range(120)]
    sizes = np.full(120, 1000)
    config = phase(budget_mb=0.1, weights={"novel": 1, "laws": 1})
    rows = table(config, {"novel": 20_000, "laws": 100_000}, "phases.first")
    return sources, order(rows, ids, sources, sizes, seed)


def test_each_source_gives_its_share_and_epochs_are_whole_readings() -> None:
    sources, numbers = drawn()
    # 50 kB each: the novel's 20 documents two and a half times, half of the 100 of the laws.
    assert Counter(sources[n] for n in numbers) == {"novel": 50, "laws": 50}
    novel = [n for n in numbers if sources[n] == "novel"]
    assert sorted(novel[:20]) == sorted(novel[20:40]) == list(range(20))
    assert novel[:20] != novel[20:40]
    assert set(Counter(n for n in numbers if sources[n] == "laws").values()) == {1}


def test_sources_are_interleaved_evenly() -> None:
    sources, numbers = drawn()
    for start in range(0, 100, 10):
        window = [sources[n] for n in numbers[start : start + 10]]
        assert window.count("novel") == 5


def test_the_order_is_the_seeds() -> None:
    assert drawn(0)[1].tolist() == drawn(0)[1].tolist() != drawn(1)[1].tolist()
