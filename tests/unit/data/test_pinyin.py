import pytest

from jielong.data.pinyin import tone_marks


# The rules of the Basic Rules of Hanyu Pinyin: a and e first, the o of ou, else the last vowel.
@pytest.mark.parametrize(
    ("numbered", "marked"),
    [
        ("hua4 she2 tian1 zu2", "huà shé tiān zú"),
        ("lu:4 xing2", "lǜ xíng"),
        ("lu:e4", "lüè"),
        ("dui4 jiu3", "duì jiǔ"),
        ("gou3 xiong2", "gǒu xióng"),
        ("de5", "de"),
        ("wan2 r5", "wán r"),
        ("A1 bu4", "Ā bù"),
        ("Ou1 zhou1", "Ōu zhōu"),
        ("san1 C", "sān C"),
        ("pa1 , pa1", "pā , pā"),
    ],
)
def test_tone_numbers_become_marks(numbered: str, marked: str) -> None:
    assert tone_marks(numbered) == marked
