import codecs
import io
from itertools import islice

import pytest

from jielong.data.encoding import (
    Fault,
    UndecodableError,
    common_characters,
    common_share,
    decode,
    detect,
    lines,
    texts,
)
from tests.sentences import sentences

ENCODINGS = [
    ("SIMPLIFIED", "utf-8"),
    ("SIMPLIFIED", "utf-8-sig"),
    ("SIMPLIFIED", "gb18030"),
    ("SIMPLIFIED", "utf-16"),
    ("SIMPLIFIED", "utf-16-le"),
    ("SIMPLIFIED", "utf-16-be"),
    ("TRADITIONAL", "big5"),
    ("TRADITIONAL", "cp950"),
    ("TRADITIONAL", "gb18030"),
    ("ENGLISH", "utf-8"),
    ("ENGLISH", "utf-16-le"),
    ("ENGLISH", "utf-16-be"),
]


def lines_of(script: str, count: int) -> list[str]:
    return list(islice(sentences(script), count))


def test_common_characters_are_the_first_levels_of_two_code_pages() -> None:
    common = common_characters()
    assert {"的", "龙", "龍", "臺", "，", "。", "《", "“"} <= common
    assert not {"浣", "犲", "ソ", "鈥", "a", "é", "\ufffd", ""} & common
    # GB 2312 level 1 has 3,755 characters and Big5 level 1 has 5,401, by their standards.
    assert max(3755, 5401) < sum("\u4e00" <= c <= "\u9fff" for c in common) < 3755 + 5401


def test_the_share_of_common_characters_leaves_ascii_out() -> None:
    assert common_share("abc") == 1.0
    assert common_share("ab你好cd") == 1.0
    assert common_share("你犲") == 0.5
    assert common_share("浣犲") == 0.0


@pytest.mark.parametrize(("script", "encoding"), ENCODINGS)
def test_a_single_sentence_is_decoded_right(script: str, encoding: str) -> None:
    for sentence in lines_of(script, 200):
        assert decode(sentence.encode(encoding)) == sentence


@pytest.mark.parametrize(("script", "encoding"), ENCODINGS)
def test_a_file_longer_than_the_sample_is_decoded_right(script: str, encoding: str) -> None:
    text = "\n".join(lines_of(script, 4000)) + "\n"
    assert decode(text.encode(encoding)) == text


def test_chinese_after_much_ascii_is_still_told() -> None:
    text = "plain words, nothing else\n" * 20_000 + "\n".join(lines_of("SIMPLIFIED", 50))
    assert decode(text.encode("gb18030")) == text
    assert decode(text.encode("utf-8")) == text


def test_line_ends_become_newlines() -> None:
    for encoding in ("utf-8", "gb18030", "utf-16-le"):
        assert decode("甲的\r\n乙的\r丙的\n".encode(encoding)) == "甲的\n乙的\n丙的\n"


def test_a_byte_of_a_wide_character_is_no_line_end() -> None:
    # U+4E0A and U+0A4E hold the byte 0x0A, in either place.
    text = "上海以上。\n上\u0a4e上\n"
    for encoding in ("utf-16-le", "utf-16-be"):
        data = codecs.BOM_UTF16_LE * (encoding == "utf-16-le") + text.encode(encoding)
        found = list(lines(io.BytesIO(data), encoding, [], 1000))
        assert [line for _, line in found] == text.splitlines(keepends=True)
        assert found[1][0] == len(data) - len("上\u0a4e上\n".encode(encoding))


@pytest.mark.parametrize(
    ("data", "offset", "reason"),
    [
        (b"abc\0def", 3, "a zero byte"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\x0d", 8, "a zero byte"),
        (bytes(range(128, 256)) * 9, 0, "neither UTF-8, UTF-16, GB18030 nor Big5"),
        ("déjà vu au café".encode("latin-1"), 1, "neither UTF-8"),
        ("one line\nZwölf Boxkämpfer".encode("cp1252"), 11, "neither UTF-8"),
    ],
)
def test_what_is_no_text_is_refused(data: bytes, offset: int, reason: str) -> None:
    with pytest.raises(UndecodableError, match=reason) as caught:
        decode(data)
    assert caught.value.fault.offset == offset


def test_big5_is_read_with_the_characters_that_windows_added() -> None:
    text = "這裏的一切都很好～永恒的墻"
    assert decode(text.encode("cp950")) == text


def test_a_named_encoding_is_not_doubted() -> None:
    assert decode("déjà vu".encode("latin-1"), "latin-1") == "déjà vu"
    assert decode("你好".encode("utf-16"), "utf-16") == "你好"
    with pytest.raises(UndecodableError, match="byte 3: not utf-8"):
        decode("你".encode() + "好".encode("gb18030"), "utf-8")


def test_a_damaged_line_costs_only_itself() -> None:
    good = [line.encode() + b"\n" for line in lines_of("SIMPLIFIED", 5000)]
    bad = "坏的一".encode() + b"\xff" + "行\n".encode()
    data = b"".join(good[:4000]) + bad + b"with \0 inside\n" + b"".join(good[4000:])
    faults: list[Fault] = []
    text = "".join(texts(io.BytesIO(data), "auto", faults))
    start = len(b"".join(good[:4000]))
    assert [fault.offset for fault in faults] == [start + 9, start + len(bad) + 5]
    assert [line for line in text.split("\n") if line] == [g.decode().strip() for g in good]


def test_a_damaged_character_in_a_long_line_costs_its_rest() -> None:
    before, after = "长" * 50_000, "短" * 50_000
    data = before.encode() + b"\xe9" + after.encode() + "\n下一行".encode()
    faults: list[Fault] = []
    text = "".join(texts(io.BytesIO(data), "auto", faults))
    assert [fault.offset for fault in faults] == [len(before.encode())]
    first, last = text.split("\n")
    assert before.startswith(first)
    assert len(first) > 40_000
    assert last == "下一行"


def test_a_file_full_of_damage_is_given_up() -> None:
    data = "好的一行，没有问题，还有更多的字。\n".encode() * 3000 + b"bad \xff line\n" * 1000
    faults: list[Fault] = []
    list(texts(io.BytesIO(data), "auto", faults))
    assert len(faults) == 21
    assert "read no further" in faults[-1].reason


def test_a_line_over_the_limit_is_left_out_whole() -> None:
    rows = [b"first\n", b"x" * 300_000 + b"\n", b"", "第三行\n".encode(), b"y" * 2001 + b"\n", b"z"]
    data = b"".join(rows)
    faults: list[Fault] = []
    found = list(lines(io.BytesIO(data), "auto", faults, 2001))
    assert found == [(0, "first\n"), (300_007, "第三行\n"), (data.index(b"z"), "z")]
    assert [fault.offset for fault in faults] == [6, data.index(b"y")]
    assert faults[0].reason == "a line of more than 2,001 bytes"
    faults.clear()
    assert len(list(lines(io.BytesIO(data), "auto", faults, 2002))) == 4


def test_a_sample_that_ends_inside_a_character_is_judged_by_the_rest() -> None:
    for encoding in ("utf-8", "gb18030"):
        data = "".join(lines_of("SIMPLIFIED", 30)).encode(encoding)
        assert {detect(data[:size]) for size in range(60, 200)} == {encoding}
