"""Hashes of n-grams, a whole text at a time: what near-duplicates and leaked test items share.

All arithmetic is on 64-bit words and wraps, so it is the same on every machine.
"""

import numpy as np
from numpy.typing import NDArray

_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd: no power of it vanishes modulo 2⁶⁴


def code_points(text: str) -> NDArray[np.uint64]:
    """The characters of `text` as numbers."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)


def windows(values: NDArray[np.uint64], n: int) -> NDArray[np.uint64]:
    """The hash of every n neighbours: v₀B^(n-1) + v₁B^(n-2) + … + v_(n-1), modulo 2⁶⁴.

    Neighbours are so along the first axis. One hash for each start, so n - 1 fewer than values;
    none where there are fewer than n.
    """
    count = max(0, len(values) - n + 1)
    total = np.zeros((count, *values.shape[1:]), dtype=np.uint64)
    for offset in range(n):
        total *= _BASE
        total += values[offset : offset + count]
    return total


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
