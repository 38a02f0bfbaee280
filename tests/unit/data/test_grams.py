import numpy as np

from jielong.data.grams import code_points, distinct, hash_units, mix, windows

BASE = 0x9E3779B97F4A7C15


def test_characters_are_numbers_wherever_they_stand_in_unicode() -> None:
    assert code_points("a中𠀀\ud800").tolist() == [0x61, 0x4E2D, 0x20000, 0xD800]


def test_a_window_is_its_polynomial() -> None:
    found = windows(np.array([1, 2, 3], dtype=np.uint64), 2)
    assert found.tolist() == [(1 + 2 * BASE) % 2**64, (2 + 3 * BASE) % 2**64]


def test_there_may_be_no_window() -> None:
    assert windows(np.array([1, 2], dtype=np.uint64), 3).tolist() == []


def test_a_long_text_is_hashed_as_a_short_one() -> None:
    text = "字words 12，" * 20_000  # more characters than powers are kept for
    hashes = hash_units(text).hashes
    assert np.array_equal(hashes, np.tile(hash_units("字words 12").hashes, 20_000))
    assert np.array_equal(windows(hashes, 4)[-3:], windows(hashes[-6:], 4))


def test_distinct_values_are_sorted() -> None:
    found = distinct(np.array([7, 3, 2**64 - 1, 3, 7], dtype=np.uint64))
    assert found.tolist() == [3, 7, 2**64 - 1]
    assert distinct(found[:0]).tolist() == []


def spans(text: str) -> list[str]:
    units = hash_units(text)
    pairs = zip(units.start.tolist(), units.end.tolist(), strict=True)
    return [text[start:end] for start, end in pairs]


def test_units_are_han_characters_and_runs_of_other_letters_and_digits() -> None:
    text = "我有3台PC，don't_go 𠀀𠀁é２ かな한글\n"
    assert spans(text) == [*"我有", "3", "台", "PC", "don", "t", "go", *"𠀀𠀁", "é２", "かな한글"]
    assert spans("") == spans("，。 ") == []


def test_units_are_equal_in_any_dress() -> None:
    one = hash_units("Hello，我 ÉTÉ 2.5!").hashes.tolist()
    assert one == hash_units("\uff28\uff45ll\uff4f我“été”2，\uff15").hashes.tolist()
    assert len(set(one)) == len(one) == 5


def test_a_unit_is_more_than_its_letters() -> None:
    units = ["ab", "ba", "a", "aa", "abc", "大", "火", "山", "0", "00", "1"]
    hashes = [hash_units(f"， {unit}").hashes.tolist() for unit in units]
    assert all(len(each) == 1 for each in hashes)
    assert len({each[0] for each in hashes}) == len(units)
    assert hash_units("，ab").hashes.tolist() == hash_units("山ab山").hashes.tolist()[1:2]


def test_mixing_is_splitmix64() -> None:
    """The generator's first outputs for seed 0, as its authors' reference code prints them."""
    golden_steps = np.array([BASE, 2 * BASE % 2**64], dtype=np.uint64)
    assert mix(golden_steps).tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]
