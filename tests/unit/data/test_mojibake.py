"""Damage is made here, from sentences that we wrote, by decoding them in the wrong encoding."""

import time
from collections.abc import Callable, Iterator
from itertools import islice
from random import Random

import pytest

from jielong.data.mojibake import repair
from tests.sentences import sentences

LINES = 300


def utf8_as_gb18030(text: str) -> str:
    return text.encode("utf-8").decode("gb18030")


def gb18030_as_latin1(text: str) -> str:
    return text.encode("gb18030").decode("latin-1")


def as_windows_shows(data: bytes) -> str:
    """Windows' code page 1252, which leaves five bytes as they are."""
    return "".join(bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in data)


def gb18030_as_cp1252(text: str) -> str:
    return as_windows_shows(text.encode("gb18030"))


def utf8_as_latin1(text: str) -> str:
    return text.encode("utf-8").decode("latin-1")


def utf8_as_cp1252(text: str) -> str:
    return as_windows_shows(text.encode("utf-8"))


def damaged(script: str, accident: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    """(line, damaged line) of those that the accident changes and loses nothing of."""
    for line in islice(sentences(script), 12_000):
        try:
            garbled = accident(line)
        except UnicodeDecodeError:
            continue
        if garbled != line:
            yield line, garbled


@pytest.mark.parametrize(
    ("script", "accident"),
    [
        ("SIMPLIFIED", utf8_as_gb18030),
        ("SIMPLIFIED", gb18030_as_latin1),
        ("SIMPLIFIED", gb18030_as_cp1252),
        ("SIMPLIFIED", utf8_as_latin1),
        ("SIMPLIFIED", utf8_as_cp1252),
        ("TRADITIONAL", gb18030_as_latin1),
        ("TRADITIONAL", utf8_as_latin1),
        ("ENGLISH", utf8_as_cp1252),
    ],
)
def test_damaged_lines_are_restored(script: str, accident: Callable[[str], str]) -> None:
    pairs = list(islice(damaged(script, accident), LINES))
    assert len(pairs) == LINES
    restored = sum(repair(garbled) == line for line, garbled in pairs)
    assert restored >= 0.95 * LINES


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("utf-8", "gb18030"), ("gb18030", "latin-1"), ("utf-8", "latin-1"), ("gb18030", "utf-8")],
)
def test_lines_that_lost_a_byte_are_dropped(right: str, wrong: str) -> None:
    rng = Random(0)
    dropped = 0
    for line in islice(sentences("SIMPLIFIED"), LINES):
        data = f"{line}ABC".encode(right)  # letters, which may be taken for the byte that is gone
        lost = rng.randrange(len(data) // 4, len(data) * 3 // 4)
        while data[lost] < 0x80:
            lost += 1
        garbled = (data[:lost] + data[lost + 1 :]).decode(wrong, "replace")
        dropped += repair(f"前一行。\n{garbled}\n后一行。") == "前一行。\n后一行。"
    assert dropped >= 0.95 * LINES


@pytest.mark.parametrize("sign", ["\ufffd", "锟斤拷", "烫烫烫", "屯屯屯"])
def test_a_line_in_pieces_is_dropped_but_not_for_one_sign_of_it(sign: str) -> None:
    assert repair(f"第一行\n这{sign * 4}行\n第三行") == "第一行\n第三行"
    one = f"第一行\n这里有{sign}的一行\n第三行"
    assert repair(one) == one


@pytest.mark.parametrize(
    "line",
    [
        "水太烫了，她连声喊着烫烫烫，把杯子放下。",
        "屏幕上只剩下“锟斤拷锟斤拷”六个字，谁也不知道那封信原来写了什么，只好请人再寄一封来。",
        "手持两把锟斤拷，口中疾呼烫烫烫",
        "The caf\ufffd was closed, and the na\ufffdve guests stood in the rain for an hour.",
    ],
)
def test_signs_of_loss_may_be_mentioned(line: str) -> None:
    assert repair(line) == line


def test_clean_lines_stay_as_they_are() -> None:
    scripts = ("SIMPLIFIED", "TRADITIONAL", "ENGLISH")
    found = [line for script in scripts for line in islice(sentences(script), 4000)]
    assert len(found) > 10_000
    assert repair("\n".join(found)) == "\n".join(found)
    assert [line for line in found if repair(line) != line] == []


@pytest.mark.parametrize(
    "line",
    [
        "Keep it at 90°±5 degrees, 3×½ cups, «très bien», § 12–15.",
        "Chapter one ········ 12",
        "Set it to 90°±5 degrees.",
        "A row of ×××× and one of §§§§",
        "CRÉÉE EN ÉTÉ, réécrire, naïve, Füße, hyvää yötä, señorita ¿Qué?",
        "——“好”·《书》……℃ ± × ÷ § · ‰ 〇 ㈱ ①②③ ～ ￥100 €5 鈥",
        "それは日本語です。カタカナ、ひらがな。",
        "Это по-русски. Αυτό είναι ελληνικά.",
        "犇猋骉麤 龘靐齉齾 涓涓细流 溱洧 渑池 浔阳",
        "&amp; ，： ﬁ \u3000缩进 \x1b[0m “quotes” it’s",
    ],
)
def test_uncommon_text_is_no_damage(line: str) -> None:
    assert repair(line) == line


def test_known_damage_from_memory() -> None:
    assert repair("浣犲ソ") == "你好"
    assert repair("ÄãºÃ") == "你好"
    assert repair("ä½\xa0å¥½") == "你好"
    assert repair("ä½ å¥½") == ""  # a space is not the byte that it was
    assert repair("涓€") == "一"  # the byte 0x80, as Windows shows it in GBK
    assert repair("It鈥檚 fine") == "It’s fine"
    assert repair("cafÃ©") == "café"


def test_one_character_at_the_end_may_be_lost() -> None:
    """A Chinese Windows shows the last byte of an odd number of bytes as a question mark."""
    garbled = "明天很好。".encode()[:-1].decode("gb18030") + "?"
    assert garbled.endswith("?")
    assert repair(garbled) == "明天很好"


def test_the_gain_that_is_asked_for_decides() -> None:
    assert repair("浣犲ソ", min_gain=1.0) == "你好"
    assert repair("浣犲ソ", min_gain=1.1) == "浣犲ソ"


def test_clean_text_takes_no_time() -> None:
    text = "\n".join(islice(sentences("SIMPLIFIED"), 5000)) * 10
    text += "\n".join(islice(sentences("ENGLISH"), 5000)) * 10
    repair(text)
    seconds = min(_seconds(text) for _ in range(3))
    assert len(text.encode()) / 1e6 / seconds > 10


def _seconds(text: str) -> float:
    start = time.perf_counter()
    repair(text)
    return time.perf_counter() - start
