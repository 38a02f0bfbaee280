import pytest

from jielong.data.readers.cut import cut


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # At most 20 bytes: at a blank line, even where a line end or a sentence end comes later.
        ("aaaa aaaa.\n\nbb. bb\nbbbbbbbb", ["aaaa aaaa.", "bb. bb\nbbbbbbbb"]),
        ("aaaa aaaa\nbb. bbbb bbbbbbbb", ["aaaa aaaa", "bb. bbbb bbbbbbbb"]),
        ("One is. Two is. Three is three.", ["One is. Two is.", " Three is three."]),
        ("“短句。”长一点的句子", ["“短句。”", "长一点的句子"]),
        ("word word word word word", ["word word word word", "word"]),
        ("字" * 14, ["字" * 6, "字" * 6, "字" * 2]),
        ("x" * 41, ["x" * 20, "x" * 20, "x"]),
        # A break in the first quarter would leave a scrap.
        ("ab\n\n" + "c" * 30, ["ab\n\n" + "c" * 16, "c" * 14]),
        ("\n\n \n  indented\n\n\n", ["  indented"]),
        ("short", ["short"]),
        ("", []),
        (" \n\n\t", []),
        ("3.14159265358979323846", ["3.141592653589793238", "46"]),
    ],
)
def test_text_is_cut_at_the_best_place(text: str, expected: list[str]) -> None:
    assert list(cut([text], 20)) == expected


def test_a_character_is_never_cut() -> None:
    assert list(cut(["字🙂a"], 1)) == ["字", "🙂", "a"]
