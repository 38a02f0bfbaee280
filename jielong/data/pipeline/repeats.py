"""The numbers by which documents are compared, and the one question asked of them."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Fingerprints:
    """D documents and their P long paragraphs, in the order in which the part holds them."""

    ids: np.ndarray  # (D,) uint64
    ranks: np.ndarray  # (D,) uint16, the source's place in the order of trust
    offsets: np.ndarray  # (D,) uint64, where the document's line begins, in bytes
    texts: np.ndarray  # (D,) uint64, digest of the comparison form
    paragraphs: np.ndarray  # (P,) uint64, digests of long paragraphs
    owners: np.ndarray  # (P,) uint32, the document of each
    places: np.ndarray  # (P,) uint32, which of the document's paragraphs it is


def first_of_each(keys: np.ndarray, order: np.ndarray) -> np.ndarray:
    """For each key, where the first equal key in `order` stands. # (N,) int64

    `order` lists all positions, the most trusted first.
    """
    ordered = keys[order]
    _, first, inverse = np.unique(ordered, return_index=True, return_inverse=True)
    result = np.empty(len(keys), dtype=np.int64)
    result[order] = order[first[inverse]]
    return result
