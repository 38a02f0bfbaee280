"""Seeds for every purpose, derived from one.

Python's `hash` is salted per process and a shared generator makes each draw depend on all draws
before it; a digest of (seed, names) does neither, so any batch can be made again from its index.
"""

import hashlib
from random import Random

import numpy as np


def derive(seed: int, *names: str | int) -> int:
    """The 63-bit seed of one purpose: the first eight bytes of SHA-256 over (seed, names)."""
    text = "\x1f".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """A NumPy generator for one purpose."""
    return np.random.default_rng(derive(seed, *names))


def python_random(seed: int, *names: str | int) -> Random:
    """A `random.Random` for one purpose."""
    return Random(derive(seed, *names))
