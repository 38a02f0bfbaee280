"""Numbered pinyin, as dictionaries store it, written with tone marks, as people read it."""

import re

_MARKS = {"a": "āáǎàa", "e": "ēéěèe", "i": "īíǐìi", "o": "ōóǒòo", "u": "ūúǔùu", "ü": "ǖǘǚǜü"}
_SYLLABLE = re.compile(r"([A-Za-zü]+)([1-5])")


def tone_marks(numbered: str) -> str:
    """`lu:4 xing2` -> `lǜ xíng`; what is no numbered syllable stays as it is."""
    return _SYLLABLE.sub(
        lambda found: _mark(found[1], int(found[2]) - 1),
        numbered.replace("u:", "ü").replace("U:", "Ü").replace("v", "ü"),
    )


def _mark(syllable: str, tone: int) -> str:
    """The mark goes on a or e, on the o of ou, else on the last vowel."""
    lower = syllable.lower()
    for vowel in ("a", "e", "ou"):
        if vowel in lower:
            position = lower.index(vowel)
            break
    else:
        vowels = [i for i, letter in enumerate(lower) if letter in _MARKS]
        if not vowels:  # the syllabic consonants: r5, m2, ng4
            return syllable
        position = vowels[-1]
    marked = _MARKS[lower[position]][tone]
    marked = marked.upper() if syllable[position].isupper() else marked
    return syllable[:position] + marked + syllable[position + 1 :]
