"""What can be measured of a text by its characters alone, fast enough for a whole corpus."""

import unicodedata
from functools import cache

import numpy as np
from numpy.typing import NDArray

from jielong.data.clean import is_han

SCRIPTS = ("Han", "Latin", "digits", "punctuation", "other")
RUN = 16  # characters; a power of two
LONGEST = 1_000_000  # characters of one text that are looked at for repetition

_HAN, _LATIN, _DIGITS, _PUNCTUATION, _OTHER, _BLANK = range(6)
_BASE = 0x9E3779B97F4A7C15  # odd, so that no product of powers loses a bit


def code_points(text: str) -> NDArray[np.uint32]:
    """The code points of a text."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def script_counts(codes: NDArray[np.uint32]) -> NDArray[np.int64]:
    """How many characters are of each of `SCRIPTS`; spaces and controls count for none."""
    return np.bincount(_scripts()[codes], minlength=6)[: len(SCRIPTS)].astype(np.int64)


def repeated_share(codes: NDArray[np.uint32]) -> float:
    """The share of a text's runs of `RUN` characters that stood in it before.

    0 for a text of fewer than ten runs' length, which cannot show a habit.
    """
    if len(codes) < 10 * RUN:
        return 0.0
    hashes = codes[:LONGEST].astype(np.uint64)
    width = 1
    while width < RUN:  # h of 2w characters = h of the first w times BASE^w + h of the next w
        factor = np.uint64(pow(_BASE, width, 2**64))
        hashes = hashes[:-width] * factor + hashes[width:]
        width *= 2
    return 1.0 - len(np.unique(hashes)) / len(hashes)


@cache
def _scripts() -> NDArray[np.uint8]:
    """Each code point's place in `SCRIPTS`, or one past its end."""
    table = np.full(0x110000, _OTHER, dtype=np.uint8)
    table[0x20000:0x40000] = _HAN
    for code in range(0x20000):
        table[code] = _script(chr(code))
    return table


def _script(character: str) -> int:
    category = unicodedata.category(character)
    if category[0] == "Z" or category in {"Cc", "Cf"}:
        return _BLANK
    if category[0] in "PS":
        return _PUNCTUATION
    if category[0] == "N":
        return _DIGITS
    if is_han(character):
        return _HAN
    return _LATIN if "LATIN" in unicodedata.name(character, "") else _OTHER
