# ruff: noqa: RUF001 - letters of the wrong width are what is tested
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jielong.data.clean import han_share, is_han, normalise, units


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("ＡＢＣ　ｘｙｚ　１２３", "ABC xyz 123"),
        ("一\r\n二\r三\u2028四", "一\n二\n三\n四"),
        ("零\u200b宽\ufeff与\u202e方向\u0007", "零宽与方向"),
        ("e\u0301tude", "\u00e9tude"),
        ("\u2f08和\u2f32", "人和干"),  # Kangxi radicals are not the characters they look like
        ("\ufb01ne o\ufb03ce", "fine office"),
        ("a\u00a0b", "a b"),
        ("3．14 与 10：30，又 50％－60％", "3.14 与 10:30，又 50％－60％"),
        ("行尾  \n\n\n\n\n新段\n\n", "行尾\n\n\n新段"),
        ("  def f():\n\treturn 1", "  def f():\n\treturn 1"),
        ("\ud800", ""),
        ("", ""),
    ],
)
def test_coding_accidents_are_folded(raw: str, clean: str) -> None:
    assert normalise(raw) == clean


def test_what_full_nfkc_would_destroy_stays() -> None:
    text = "他说：“真的吗？”（笑）……第①章，x²，～完～；《书》——“好！”"
    assert unicodedata.normalize("NFKC", text) != text
    assert normalise(text) == text


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once


@given(st.text(alphabet="ａＡ１．：0 \t\n\r\u3000\u0301\u200b\u2f00\ufb01，。中e\x0b\x1f"))
def test_normalising_awkward_text_twice_changes_nothing(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    once.encode()


def test_units_are_han_characters_and_runs() -> None:
    assert units("学Python 3.11，一年") == ["学", "Python", "3", "11", "一", "年"]


def test_han_share_counts_letters_only() -> None:
    assert han_share("中文 ab!") == 0.5
    assert han_share("123 ...") == 0.0
    assert is_han("画蛇添足")
    assert not is_han("AA制")
    assert not is_han("")
