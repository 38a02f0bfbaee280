import codecs
import io
from itertools import islice

import pytest

from jielong.data.decoding import Fault, Line, UndecodableError, decode, lines, texts
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
        assert [line.text for line in found] == text.splitlines(keepends=True)
        assert found[1].offset == len(data) - len("上\u0a4e上\n".encode(encoding))


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


GOOD, BAD = "好的一行，没有问题，还有更多的字。\n".encode(), b"bad \xff line\n"


def test_a_file_full_of_damage_is_given_up() -> None:
    data = GOOD * 3000 + BAD * 1001 + GOOD
    faults: list[Fault] = []
    list(texts(io.BytesIO(data), "auto", faults))
    start = len(GOOD) * 3000
    assert [fault.offset for fault in faults[:20]] == [start + 4 + len(BAD) * i for i in range(20)]
    assert faults[20].reason.endswith("read no further")
    assert faults[20].offset == start + len(BAD) * 1000
    assert faults[21:] == [Fault(start + 4 + len(BAD) * 20, "980 more unreadable lines")]


def test_damage_here_and_there_ends_nothing() -> None:
    data = GOOD + (BAD + GOOD + GOOD) * 3000
    faults: list[Fault] = []
    text = "".join(texts(io.BytesIO(data), "utf-8", faults))
    assert text.count("好的一行") == 6001
    assert len(faults) == 21
    assert faults[-1].reason == "2,980 more unreadable lines"


def test_a_block_of_damage_costs_only_itself() -> None:
    data = GOOD * 100 + BAD * 999 + GOOD * 1000 + BAD
    faults: list[Fault] = []
    text = "".join(texts(io.BytesIO(data), "utf-8", faults))
    assert text.count("好的一行") == 1100
    assert faults[-1].reason == "980 more unreadable lines"


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 131_072])
@pytest.mark.parametrize("encoding", ["auto", "utf-16-le"])
def test_the_last_line_may_have_any_length(encoding: str, size: int) -> None:
    text = "x" * size if encoding == "auto" else "好" * (size // 2)
    data = text.encode("utf-8" if encoding == "auto" else encoding)
    faults: list[Fault] = []
    assert list(lines(io.BytesIO(data), encoding, faults, 10**6)) == [
        Line(0, len(data), text, is_left_out=False)
    ]
    assert faults == []


def test_half_a_character_at_the_end_is_told() -> None:
    data = b"x" * 65_534 + "好".encode()[:2]
    faults: list[Fault] = []
    list(texts(io.BytesIO(data), "utf-8", faults))
    assert faults == [Fault(65_534, "not utf-8 (unexpected end of data)")]


def test_a_long_line_that_begins_in_ascii_is_decoded_right() -> None:
    text = "plain " * 20_000 + "，".join(lines_of("SIMPLIFIED", 200))
    assert decode(text.encode("gb18030")) == text


KOREAN = (
    "아침에 할머니는 마당에 꽃을 심으셨고, 나는 강아지와 함께 강가로 나갔다.\n"
    "저녁에는 집으로 돌아와 국수를 먹고, 내일은 친구와 시장에 가기로 했다.\n"
)
JAPANESE = [
    "朝は川まで歩いて行き、小さな犬を見ました。昼には家に帰って、うどんを食べました。\n",
    "市内交通量調査結果の報告書は来週公表予定。\n",
]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [(KOREAN, "euc_kr"), (JAPANESE[0], "euc_jp"), (JAPANESE[1], "euc_jp")],
)
def test_korean_and_japanese_code_pages_are_not_taken_for_chinese(text: str, encoding: str) -> None:
    with pytest.raises(UndecodableError, match="neither UTF-8"):
        decode(text.encode(encoding))
    assert decode(text.encode(encoding), encoding) == text
    assert decode(text.encode()) == text


def test_lists_of_words_in_chinese_are_chinese() -> None:
    illnesses = "肺炎\n肝炎\n肺气肿\n阑尾炎\n淋巴瘤\n扁桃体炎\n心肌炎\n白血病\n胃溃疡\n糖尿病"
    names = "王小明 李建国 张伟 刘芳 陈静 杨洋 赵磊 黄丽 周杰 吴秀英 徐霞 孙平"
    for text in (illnesses, names, "狼来了，啊！促狭的狼"):
        assert decode(text.encode("gb18030")) == text


def test_a_line_over_the_limit_is_left_out_whole() -> None:
    rows = [b"first\n", b"x" * 300_000 + b"\n", b"", "第三行\n".encode(), b"y" * 2001 + b"\n", b"z"]
    data = b"".join(rows)
    faults: list[Fault] = []
    found = list(lines(io.BytesIO(data), "auto", faults, 2001))
    last = data.index(b"z")
    assert [line for line in found if not line.is_left_out] == [
        Line(0, 6, "first\n", is_left_out=False),
        Line(300_007, 300_017, "第三行\n", is_left_out=False),
        Line(last, last + 1, "z", is_left_out=False),
    ]
    assert [(line.offset, line.text) for line in found if line.is_left_out] == [
        (6, ""),
        (300_017, ""),
    ]
    assert [fault.offset for fault in faults] == [6, data.index(b"y")]
    assert faults[0].reason == "a line of more than 2,001 bytes"
    faults.clear()
    found = lines(io.BytesIO(data), "auto", faults, 2002)
    assert sum(not line.is_left_out for line in found) == 4


def test_of_a_line_that_is_left_out_its_quotation_marks_are_counted() -> None:
    data = b'a"\xff"",\n' + b'"' + b"x" * 200_000 + b'\xff" "\n' + b"b"
    found = list(lines(io.BytesIO(data), "utf-8", [], 10**6))
    assert [(line.text, line.is_left_out) for line in found] == [
        ('"', True),
        ('"', True),
        ("b", False),
    ]
