"""Words as a person reads them."""

import sys

import numpy as np
import pytest

from jielong.core.errors import DataError
from jielong.data.words import number_words
from tests.tiny import tokenizer

BYTES = [b"", *(bytes([i]) for i in range(256))]  # a vocabulary of one special token and the bytes


def words_of(pieces: list[bytes]) -> list[bytes]:
    """The words of a text that is given as its tokens."""
    numbers = number_words(np.arange(len(pieces)), pieces)
    assert numbers[0] == 0
    assert set(np.diff(numbers)) <= {0, 1}
    joined = [b"" for _ in range(numbers[-1] + 1)]
    for number, piece in zip(numbers, pieces, strict=True):
        joined[number] += piece
    return joined


def test_letters_and_digits_join_with_the_space_before_them() -> None:
    pieces = [b"the", b" qu", b"ick", b" ", b"fox", b"es", b",", b" 12", b"34", b"\n\n", b"a1"]
    assert words_of(pieces) == [
        b"the",
        b" quick",
        b" foxes",
        b",",
        b" 1234",
        b"\n\n",
        b"a1",  # a token that spans two words goes with the first
    ]


def test_chinese_is_cut_into_words() -> None:
    found = words_of([c.encode() for c in "我们，我们。中国"])
    assert found == [w.encode() for w in ("我们", "，", "我们", "。", "中国")]


def test_bytes_of_one_character_stay_together() -> None:
    text = "我们é😀, x"
    numbers = number_words(np.array([byte + 1 for byte in text.encode()]), BYTES)
    sizes = np.bincount(numbers).tolist()
    assert sizes == [6, 2, 4, 1, 2]


def test_a_special_token_ends_a_word_and_is_none() -> None:
    assert words_of([b"ab", b"", b"cd", b"ef", b"", b"", b"gh"]) == [
        b"ab",
        b"",
        b"cdef",
        b"",
        b"",
        b"gh",
    ]


def test_bytes_that_are_no_text_stand_alone() -> None:
    assert words_of([b"\xe6\x88", b"\xff", b"a", b"b"]) == [b"\xe6\x88", b"\xff", b"ab"]


def test_tokens_of_a_real_vocabulary() -> None:
    trained = tokenizer()
    ids = np.array([1, *trained.encode("the quick brown fox jumps"), 1, *trained.encode("lazy")])
    numbers = number_words(ids, trained.token_bytes)
    words = [trained.decode(ids[numbers == n].tolist()) for n in range(numbers[-1] + 1)]
    assert words == ["", "the", " quick", " brown", " fox", " jumps", "", "lazy"]


def test_a_missing_segmenter_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rjieba", None)
    assert number_words(np.arange(2), [b"a", b"b"]).tolist() == [0, 0]
    with pytest.raises(DataError, match=r"^Whole-word masking of Chinese needs rjieba: pip"):
        words_of(["我".encode()])
