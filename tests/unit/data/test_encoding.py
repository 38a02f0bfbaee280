from itertools import islice

from jielong.data.encoding import common_characters, common_share, detect
from tests.sentences import sentences


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


def test_a_sample_that_ends_inside_a_character_is_judged_by_the_rest() -> None:
    for encoding in ("utf-8", "gb18030"):
        data = "".join(islice(sentences("SIMPLIFIED"), 30)).encode(encoding)
        assert {detect(data[:size]) for size in range(60, 200)} == {encoding}
