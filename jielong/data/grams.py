"""Hashes of n-grams, a whole text at a time: what near-duplicates and leaked test items share.

All arithmetic is on 64-bit words and wraps, so it is the same on every machine.
"""

import unicodedata
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that it has an inverse modulo 2⁶⁴
_INVERSE = np.uint64(pow(int(_BASE), -1, 2**64))
_USUAL_LENGTH = 2**17  # characters; the powers for a longer text are made when it comes
_LAST_LETTER = 0x3FFFF  # no letter is above the third ideographic plane


def code_points(text: str) -> NDArray[np.uint64]:
    """The characters of `text` as numbers."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)


def windows(values: NDArray[np.uint64], n: int) -> NDArray[np.uint64]:
    """The hash of every n neighbours: v₀ + v₁B + … + v_(n-1)B^(n-1), modulo 2⁶⁴.

    One hash for each start, so n - 1 fewer than values; none where there are fewer than n.
    """
    if len(values) < n:
        return np.empty(0, dtype=np.uint64)
    # As differences of one running sum, which takes as long for any n.
    powers, inverses = _powers(len(values))
    total = np.zeros(len(values) + 1, dtype=np.uint64)
    np.cumsum(values * powers, out=total[1:])
    hashes = total[n:] - total[:-n]
    hashes *= inverses[: len(hashes)]
    return hashes


def distinct(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The values in order, each once: as `np.unique`, which hashes and takes ten times as long."""
    values = np.sort(values)
    is_new = np.ones(len(values), dtype=np.bool_)
    is_new[1:] = values[1:] != values[:-1]
    return values[is_new]


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A permutation of the 64-bit words in which every input bit sways every output bit.

    The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). In place: the given array
    holds the result.
    """
    values ^= values >> np.uint64(30)
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values


class Units(NamedTuple):
    """The units of a text: their hashes, and the characters from `start` up to `end`."""

    hashes: NDArray[np.uint64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]


def hash_units(text: str) -> Units:
    """Each Han character and each run of other letters and digits, hashed in one width and case.

    So two units are equal whatever punctuation stands around them. A letter that folds to several,
    such as ß, counts as the first of them.
    """
    codes = np.minimum(code_points(text), _LAST_LETTER + 1).astype(np.int64)
    letters = _folded_letters()[codes]
    is_han = ((letters >= 0x3400) & (letters <= 0x9FFF)) | (letters >= 0x20000)
    in_run = (letters > 0) & ~is_han
    first = is_han | in_run
    last = first.copy()
    first[1:] &= ~(in_run[1:] & in_run[:-1])
    last[:-1] &= ~(in_run[1:] & in_run[:-1])
    start, end = np.flatnonzero(first), np.flatnonzero(last) + 1
    if not len(start):
        return Units(np.empty(0, dtype=np.uint64), start, end)
    # A letter weighs B to the power of its place; what stands between the units weighs nothing.
    powers, inverses = _powers(len(letters))
    return Units(mix(np.add.reduceat(letters * powers, start) * inverses[start]), start, end)


@cache
def _folded_letters() -> NDArray[np.uint64]:
    """For every character its letter or digit in one width and case; 0 where it is neither."""
    folded = np.zeros(_LAST_LETTER + 2, dtype=np.uint64)
    for code in range(_LAST_LETTER + 1):
        if chr(code).isalnum():
            folded[code] = ord(unicodedata.normalize("NFKC", chr(code)).casefold()[0])
    return folded


def _powers(count: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The first powers of B and of its inverse, so many of each."""
    powers, inverses = _table_of_powers(max(count, _USUAL_LENGTH))
    return powers[:count], inverses[:count]


@lru_cache(1)
def _table_of_powers(count: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    return np.cumprod(np.full(count, _BASE)), np.cumprod(np.full(count, _INVERSE))
