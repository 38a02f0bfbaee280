"""What the characters of a text are: letters by script, spaces, symbols; counted in one pass."""

import re
import unicodedata
from dataclasses import dataclass
from enum import IntEnum
from functools import cache

import numpy as np
from numpy.typing import NDArray


class Kind(IntEnum):
    """A character's script, or what it is if it is no letter."""

    OTHER = 0  # punctuation, digits, marks: seen, but neither a letter nor a symbol
    HAN = 1
    KANA = 2
    HANGUL = 3
    LATIN = 4
    CYRILLIC = 5
    OTHER_LETTER = 6
    SPACE = 7
    SYMBOL = 8
    PRIVATE_USE = 9


_LETTERS = slice(Kind.HAN, Kind.OTHER_LETTER + 1)
_BY_NAME = {  # the first word of a letter's name in Unicode, but for its width
    "CJK": Kind.HAN,
    "IDEOGRAPHIC": Kind.HAN,  # the mark 々
    "HIRAGANA": Kind.KANA,
    "KATAKANA": Kind.KANA,
    "HANGUL": Kind.HANGUL,
    "LATIN": Kind.LATIN,
    "CYRILLIC": Kind.CYRILLIC,
}
_BY_CATEGORY = {"Z": Kind.SPACE, "So": Kind.SYMBOL, "Co": Kind.PRIVATE_USE}
_WIDTH = re.compile("(?:HALF|FULL)WIDTH ")
_HAN_PLANES = slice(0x20000, 0x40000)
_PRIVATE_PLANES = slice(0xF0000, 0x110000)
_BASIC_PLANE = 0x10000


@dataclass(frozen=True)
class Characters:
    """How often each kind of character occurs in a text, and in how many unbroken runs."""

    counts: tuple[int, ...]
    runs: tuple[int, ...]

    @property
    def letters(self) -> int:
        """The letters of any script."""
        return sum(self.counts[_LETTERS])

    @property
    def visible(self) -> int:
        """The characters that are no space."""
        return sum(self.counts) - self.counts[Kind.SPACE]


def count(text: str) -> Characters:
    """Count the kinds of the characters of `text`."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    kinds = _table()[codes]
    starts = kinds[np.flatnonzero(np.diff(kinds, prepend=np.uint8(255)))]
    counts, runs = (np.bincount(found, minlength=len(Kind)) for found in (kinds, starts))
    return Characters(tuple(counts.tolist()), tuple(runs.tolist()))


@cache
def _table() -> NDArray[np.uint8]:
    """The kind of every code point. Beyond the basic plane only Han and private use are told."""
    table = np.zeros(0x110000, dtype=np.uint8)
    table[:_BASIC_PLANE] = [_kind(chr(code)) for code in range(_BASIC_PLANE)]
    table[_HAN_PLANES] = Kind.HAN
    table[_PRIVATE_PLANES] = Kind.PRIVATE_USE
    return table


def _kind(character: str) -> Kind:
    if character.isspace():
        return Kind.SPACE
    if character.isalpha():
        name = _WIDTH.sub("", unicodedata.name(character))
        return _BY_NAME.get(re.split("[ -]", name)[0], Kind.OTHER_LETTER)
    category = unicodedata.category(character)
    return _BY_CATEGORY.get(category, _BY_CATEGORY.get(category[0], Kind.OTHER))
