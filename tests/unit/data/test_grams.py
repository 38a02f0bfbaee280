import numpy as np

from jielong.data.grams import code_points, mix, windows

BASE = 0x9E3779B97F4A7C15


def test_characters_are_numbers_wherever_they_stand_in_unicode() -> None:
    assert code_points("a中𠀀\ud800").tolist() == [0x61, 0x4E2D, 0x20000, 0xD800]


def test_a_window_is_its_polynomial() -> None:
    found = windows(np.array([1, 2, 3], dtype=np.uint64), 2)
    assert found.tolist() == [(BASE + 2) % 2**64, (2 * BASE + 3) % 2**64]


def test_there_may_be_no_window() -> None:
    assert windows(np.array([1, 2], dtype=np.uint64), 3).tolist() == []


def test_mixing_is_splitmix64() -> None:
    """The generator's first outputs for seed 0, as its authors' reference code prints them."""
    golden_steps = np.array([BASE, 2 * BASE % 2**64], dtype=np.uint64)
    assert mix(golden_steps).tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]
