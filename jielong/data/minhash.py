"""MinHash: a short sketch of a text, alike for texts that are alike.

A text is compared by its shingles: the n-grams of characters of its comparison form, which knows
letters and digits only. How similar two texts are is their Jaccard index J: the shingles in both,
as a share of those in either. Put all shingles in a random order: the first one of each text is
the same with probability J (Broder, 1997). With b bands of r such minima each, all r agree in some
band with probability

    P(J) = 1 - (1 - J^r)^b.

**What an edit does to J.** A substituted or deleted letter spoils n shingles, an inserted one
n - 1; so edits of a share e leave about s = (1 - e)^n of them whole, and with as many shingles on
both sides J = s / (2 - s). For n = 5 and e = 5 %, s = 0.77 and J = 0.63. A text of 200 characters
is the hard case: if each is edited with probability 5 %, J = 0.63 ± 0.09, and above 0.45 for 98 %
of such texts. Longer shingles would take J further down (0.50 at n = 8); shorter ones are shared by
long English texts that have nothing to do with each other (at 16,000 characters J = 0.12 for n = 5,
0.23 for 4, 0.44 for 3).

**Why 80 x 5.** P(0.63) = 0.9998, P(0.55) = 0.98, P(0.45) = 0.77; texts of unrelated content become
a pair that has to be verified in 0.08 % of cases at J = 0.1, and in 0.0002 % at their usual 0.03.
Verification by the exact J then leaves no false pair.

**How 400 minima cost as much as one.** Each shingle is hashed once; the upper half of the hash
chooses one of 400 bins, the lower half is its place in the order, and each bin gives one minimum
(one permutation hashing, arXiv:1208.1259). A bin that no shingle fell in takes the value of a
random bin, the same for every text, until it finds one that is not empty: Shrivastava's optimal
densification, arXiv:1703.04664, which keeps the probability of agreement at J.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jielong.core.config import check_positive
from jielong.core.seeds import derive
from jielong.data.dedup import comparison_form
from jielong.data.grams import code_points, distinct, mix, windows

NO_KEY = 0
"""The band key of a text that has too few shingles to be compared."""

_BATCH_CHARACTERS = 2**16  # a batch's arrays of 64-bit words stay in the processor's cache
_EMPTY = np.uint32(2**32 - 1)
_HALF = np.uint64(32)


@dataclass(frozen=True, kw_only=True)
class NearConfig:
    """What counts as a near-duplicate, and how surely one is found."""

    ngram: int = 5  # characters
    bands: int = 80
    rows: int = 5
    jaccard: float = 0.45  # at least so similar
    min_shingles: int = 20  # about; a text with fewer is left to exact deduplication

    def __post_init__(self) -> None:
        check_positive(self, "ngram", "bands", "rows", "min_shingles")
        if not 0 < self.jaccard <= 1:
            raise ValueError(f"jaccard: {self.jaccard}: must be above 0 and at most 1")
        if self.min_shingles > self.bands * self.rows:
            raise ValueError(f"min_shingles: {self.min_shingles}: must be at most bands times rows")


def shingles(text: str, ngram: int) -> NDArray[np.uint64]:
    """The set of the text's shingles, as sorted hashes."""
    return distinct(windows(code_points(comparison_form(text)), ngram))


def jaccard(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> float:
    """The Jaccard index of two sets of shingles; 0 for two empty ones."""
    both = len(np.intersect1d(one, other, assume_unique=True))
    union = len(one) + len(other) - both
    return both / union if union else 0.0


def band_keys(texts: Sequence[str], config: NearConfig, seed: int) -> NDArray[np.uint32]:
    """What to compare texts by, (bands, texts): two that share a key in a band may be alike.

    A key is a hash of the band's minima; `NO_KEY` stands for a text with too few shingles. It
    depends on nothing but the text, the configuration and the seed.
    """
    keys = [_keys(minima(batch, config, seed), config) for batch in _batches(texts)]
    empty = np.empty((config.bands, 0), dtype=np.uint32)
    return np.concatenate([empty, *keys], axis=1)


def minima(texts: Sequence[str], config: NearConfig, seed: int) -> NDArray[np.uint32]:
    """The bands × rows minima of each text; a text with too few shingles has the largest number.

    For a batch of texts: memory grows with their length.
    """
    hashes = config.bands * config.rows
    codes = [code_points(comparison_form(text)) for text in texts]
    lengths = np.array([len(points) for points in codes], dtype=np.int64)
    owner = np.repeat(np.arange(len(texts)), lengths)
    grams = windows(np.concatenate(codes), config.ngram)
    # A shingle lies within one text: its first and last character have the same owner.
    owner = owner[: len(grams)][inside := owner[: len(grams)] == owner[config.ngram - 1 :]]
    grams = mix(grams[inside] ^ np.uint64(derive(seed, "minhash")))
    bins = ((grams >> _HALF) * np.uint64(hashes)) >> _HALF
    sketch = np.full(len(texts) * hashes, _EMPTY, dtype=np.uint32)
    np.minimum.at(sketch, owner * hashes + bins.astype(np.int64), grams.astype(np.uint32))
    sketch = sketch.reshape(len(texts), hashes)
    sketch[(sketch != _EMPTY).sum(axis=1) < config.min_shingles] = _EMPTY
    return _densify(sketch, seed)


def _densify(sketch: NDArray[np.uint32], seed: int) -> NDArray[np.uint32]:
    """Give each empty bin the value of the first donor that has one; every text asks the same."""
    hashes = sketch.shape[1]
    dense = sketch.copy()
    row, bin_ = np.nonzero((sketch == _EMPTY) & (sketch != _EMPTY).any(axis=1, keepdims=True))
    salt, attempt = derive(seed, "minhash", "donors"), 0
    while len(row):
        counters = np.arange(attempt * hashes, (attempt + 1) * hashes, dtype=np.uint64)
        donors = ((mix(counters ^ np.uint64(salt)) >> _HALF) * np.uint64(hashes)) >> _HALF
        found = sketch[row, donors[bin_].astype(np.int64)]
        dense[row, bin_] = found
        row, bin_ = row[found == _EMPTY], bin_[found == _EMPTY]
        attempt += 1
    return dense


def _keys(sketch: NDArray[np.uint32], config: NearConfig) -> NDArray[np.uint32]:
    """The bands' keys, (bands, texts)."""
    mixed = np.zeros((config.bands, len(sketch)), dtype=np.uint64)
    for row in sketch.reshape(len(sketch), config.bands, config.rows).transpose(2, 1, 0):
        mixed = mix(mixed + row)
    keys = np.maximum((mixed >> _HALF).astype(np.uint32), NO_KEY + 1)
    keys[:, sketch[:, 0] == _EMPTY] = NO_KEY
    return keys


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for text in texts:
        if batch and size + len(text) > _BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
        batch.append(text)
        size += len(text)
    if batch:
        yield batch
