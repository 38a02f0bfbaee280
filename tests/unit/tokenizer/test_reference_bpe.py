import pytest

from jielong.core.errors import DataError
from jielong.tokenizer.reference_bpe import ReferenceBPE, merge, steps, words


def learned(bpe: ReferenceBPE) -> list[tuple[str, str]]:
    return [(bpe.tokens[a].decode(), bpe.tokens[b].decode()) for a, b in bpe.merges]


def test_words_keep_the_space_before_them() -> None:
    assert words("a bc  d\n e ") == ["a", " bc", " ", " d\n", " e", " "]
    assert words("") == []


def test_merging_goes_from_the_left() -> None:
    assert merge([1, 1, 1, 2, 1, 1], (1, 1), 9) == [9, 1, 2, 9]
    assert merge([1, 2, 1, 2, 2], (1, 2), 9) == [9, 9, 2]


def test_learning_by_hand_count() -> None:
    """'low' twice, 'lower' once: lo 3, ow 3, we 1 ... The smaller ids win a tie: 'l' before 'o'."""
    bpe = ReferenceBPE.train("low low lower", 4)
    assert learned(bpe) == [("l", "o"), ("lo", "w"), (" ", "low"), ("e", "r")]


def test_a_tie_goes_to_the_smaller_ids_whatever_comes_first() -> None:
    for text in ("ab cd", "cd ab"):
        assert learned(ReferenceBPE.train(text, 1, "characters"))[0] == (" ", "a")
        assert learned(ReferenceBPE.train(text, 1, cut=str.split)) == [("a", "b")]


def test_characters_begin_each_word_with_its_mark() -> None:
    """Every word has the mark, the first one too: ' 春' occurs three times, '春风' once."""
    bpe = ReferenceBPE.train("春风 春雨 春", 1, "characters")
    assert learned(bpe) == [(" ", "春")]
    春 = bpe.merges[next(iter(bpe.merges))]
    assert bpe.encode("春 春") == [春, 春]
    assert bpe.decode([春, 春]) == "春 春"


def test_encoding_follows_the_order_of_learning() -> None:
    """'bc' was learned before 'ab', so 'abc' is a + bc although 'ab' comes first in the text."""
    bpe = ReferenceBPE.train("bc bc bc ab ab", 2, cut=str.split)
    assert learned(bpe) == [("b", "c"), ("a", "b")]
    a, bc = bpe.tokens.index(b"a"), bpe.merges[next(iter(bpe.merges))]
    assert bpe.encode("abc") == [a, bc]
    shown = [
        ids for ids, _ in steps([a, bpe.tokens.index(b"b"), bpe.tokens.index(b"c")], bpe.merges)
    ]
    assert shown[-1] == [a, bc]
    assert len(shown) == 2


def test_learning_ends_when_nothing_is_left_to_merge() -> None:
    bpe = ReferenceBPE.train("ab", 10)
    assert len(bpe.merges) == 1
    assert ReferenceBPE.train("", 10).merges == {}
    assert ReferenceBPE.train("", 10, "characters").merges == {}


def test_an_unknown_character_and_half_a_character_are_refused() -> None:
    bpe = ReferenceBPE.train("abc", 1, "characters")
    with pytest.raises(DataError, match="'龘': never seen in training"):
        bpe.encode("a龘")
    for text in ("\ud800", "a\udfff"):
        with pytest.raises(DataError, match="lone surrogate"):
            bpe.encode(text)
        with pytest.raises(DataError, match="lone surrogate"):
            ReferenceBPE.train(text, 1)
