import math

import pytest

from jielong.core.errors import DataError
from jielong.feedback import features
from jielong.feedback.features import Answer


def answer(text: str, finished: bool = True, **constraints: str) -> Answer:
    return Answer(constraints, text, finished)


@pytest.mark.parametrize(
    ("word", "text", "met"),
    [
        ("医生", "他是医生。", 1),
        ("医生", "他是医师。", 0),
        ("doctor", "The Doctor came.", 1),
        ("doctor", "The doctors came.", 0),
        ("c++", "I like C++ here.", 1),
        ("医生", "", 0),
    ],
)
def test_the_word_asked_for(word: str, text: str, met: float) -> None:
    assert features.constraints_met(answer(text, contains=word)) == met


def test_without_a_wish_all_wishes_are_met() -> None:
    assert features.constraints_met(answer("")) == 1


def test_an_unknown_wish_is_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"constraints\.rhymes: no such wish"):
        features.constraints_met(answer("a", rhymes="yes"))


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("", 0),
        ("好", 1),
        ("今天天气好", 1),  # 今天 天天 天气 气好
        ("好好好好好", 1 / 4),
        ("the man the man the man", 2 / 5),  # the-man man-the the-man man-the the-man
        ("好。。。。", 2 / 4),  # 好。 。。 。。 。。
        ("The the THE", 1 / 2),
    ],
)
def test_repetition_is_counted_in_pairs(text: str, share: float) -> None:
    assert features.no_repetition(text) == pytest.approx(share)


def test_length_fit_peaks_above_and_falls_on_both_sides() -> None:
    assert features.length_fit(14, 14.0) == 1
    assert features.length_fit(28, 20.0) == pytest.approx(math.exp(-0.5))
    assert features.length_fit(10, 14.0) == pytest.approx(math.exp(-0.5 * (4 / 5.6) ** 2))
    assert features.length_fit(0, 14.0) < features.length_fit(7, 14.0)


@pytest.mark.parametrize(
    ("text", "finished", "value"),
    [
        ("好。", True, 1),
        ("好。", False, 0.5),
        ("好", True, 0.5),
        ("好", False, 0),
        ("他说：“好。”", True, 1),
        ("Yes!\n", True, 1),
    ],
)
def test_ending_wants_a_stop_and_a_mark(text: str, finished: bool, value: float) -> None:
    assert features.ending(answer(text, finished)) == value


@pytest.mark.parametrize(
    ("text", "lang", "value"),
    [
        ("我 like 茶", "zh", 2 / 3),
        ("我 like 茶", "en", 1 / 3),
        ("I do", "en", 1),
        ("", "zh", 0),
        ("。。", "en", 0),
    ],
)
def test_language_is_the_share_of_units(text: str, lang: str, value: float) -> None:
    assert features.language_share(answer(text, language=lang)) == pytest.approx(value)
    assert features.language_share(answer(text)) == 1


def test_units_are_han_characters_and_words() -> None:
    assert features.units("我爱 New York's 3月。") == ["我", "爱", "new", "york's", "3", "月"]
