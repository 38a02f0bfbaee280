from hypothesis import given
from hypothesis import strategies as st

from jielong.data.filters.scripts import Kind, count

# Blocks of the Unicode standard that hold nothing but letters of one script.
BLOCKS = {
    (0x4E00, 0x9FA5): Kind.HAN,
    (0xF900, 0xFA0D): Kind.HAN,
    (0x3041, 0x3096): Kind.KANA,
    (0x30A1, 0x30FA): Kind.KANA,
    (0xFF66, 0xFF9D): Kind.KANA,
    (0xAC00, 0xD7A3): Kind.HANGUL,
    (0x41, 0x5A): Kind.LATIN,
    (0xFF21, 0xFF3A): Kind.LATIN,
    (0xD8, 0xF6): Kind.LATIN,
    (0x100, 0x1BF): Kind.LATIN,
    (0x410, 0x44F): Kind.CYRILLIC,
    (0x3B1, 0x3C9): Kind.OTHER_LETTER,
    (0xE01, 0xE2E): Kind.OTHER_LETTER,
    (0xE000, 0xF8FF): Kind.PRIVATE_USE,
    (0x2605, 0x2606): Kind.SYMBOL,
    (0x30, 0x39): Kind.OTHER,
}


def test_every_kind_is_counted_with_its_runs() -> None:
    found = count("今天 nice day, かな 한글 Да ไท ★★ 3×4\ue000！")
    expected = {
        Kind.HAN: (2, 1),
        Kind.LATIN: (7, 2),
        Kind.KANA: (2, 1),
        Kind.HANGUL: (2, 1),
        Kind.CYRILLIC: (2, 1),
        Kind.OTHER_LETTER: (2, 1),
        Kind.SYMBOL: (2, 1),
        Kind.PRIVATE_USE: (1, 1),
        Kind.SPACE: (8, 8),
        Kind.OTHER: (5, 3),  # a comma, 3×4 and ！
    }
    assert {kind: (found.counts[kind], found.runs[kind]) for kind in Kind} == expected
    assert found.letters == 17
    assert found.visible == 25


def test_nothing_is_counted_in_nothing() -> None:
    assert count("").counts == count("").runs == (0,) * len(Kind)


def test_whole_blocks_are_of_one_kind() -> None:
    for (first, last), kind in BLOCKS.items():
        text = "".join(map(chr, range(first, last + 1)))
        assert count(text).counts[kind] == len(text), kind


@given(st.text(max_size=20))
def test_every_character_is_counted_once(text: str) -> None:
    found = count(text)
    assert sum(found.counts) == len(text)
    assert found.counts[Kind.SPACE] >= sum(map(str.isspace, text))
    assert all(runs <= counts for runs, counts in zip(found.runs, found.counts, strict=True))


def test_planes_beyond_the_first_are_han_or_private() -> None:
    assert count("\U00020000\U000f0000").counts[Kind.HAN] == 1
    assert count("\U00020000\U000f0000").counts[Kind.PRIVATE_USE] == 1
    assert sum(count("\ud800").counts) == 1  # half a character does not stop the count
