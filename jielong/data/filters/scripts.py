"""What the characters of a text are: letters by script, spaces, symbols; counted in one pass."""

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
_RANGES = {
    Kind.HAN: ((0x3005, 0x3005), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF)),
    Kind.KANA: ((0x3041, 0x309F), (0x30A1, 0x30FA), (0x30FC, 0x30FF), (0xFF66, 0xFF9D)),
    Kind.HANGUL: ((0x1100, 0x11FF), (0x3131, 0x318E), (0xA960, 0xA97F), (0xAC00, 0xD7FB)),
    Kind.LATIN: ((0x41, 0x5A), (0x61, 0x7A), (0xC0, 0x2AF), (0x1E00, 0x1EFF)),
    Kind.CYRILLIC: ((0x400, 0x481), (0x48A, 0x52F)),
}
_HAN_PLANES = slice(0x20000, 0x40000)
_PRIVATE_PLANES = slice(0xF0000, 0x110000)
_BASIC_PLANE = 0x10000
_BY_CATEGORY = {"Z": Kind.SPACE, "L": Kind.OTHER_LETTER, "So": Kind.SYMBOL, "Co": Kind.PRIVATE_USE}


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
    for code in range(_BASIC_PLANE):
        category = unicodedata.category(chr(code))
        kind = _BY_CATEGORY.get(category, _BY_CATEGORY.get(category[0], Kind.OTHER))
        table[code] = Kind.SPACE if chr(code).isspace() else kind
    table[_HAN_PLANES] = Kind.HAN
    table[_PRIVATE_PLANES] = Kind.PRIVATE_USE
    for kind, ranges in _RANGES.items():
        for first, last in ranges:
            codes = np.arange(first, last + 1)
            table[codes] = np.where(_is_letter(codes), kind, table[codes])
    return table


def _is_letter(codes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """× and ÷ stand among the Latin letters, and some code points are not assigned."""
    return np.array([chr(code).isalpha() for code in codes.tolist()])
