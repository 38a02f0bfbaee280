"""Which side of the train / dev / test wall a headword is on, in every task and every direction.

The side is a function of the word alone, so a fact asked forwards in training cannot come back
reversed in a test, and no table has to be kept in step with the data.
"""

import hashlib
from typing import Literal

Split = Literal["train", "dev", "test"]

BUCKETS = 1000
DEV = range(900, 950)
TEST = range(950, BUCKETS)
UNSEEN = range(980, BUCKETS)
"""The part of the test buckets whose entries are also kept out of the pretraining text."""


def bucket(key: str) -> int:
    """The bucket, 0 to 999, of a headword or of another item key."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest(), "big") % BUCKETS


def split(key: str) -> Split:
    """The side of the wall that `key` is on."""
    number = bucket(key)
    if number in TEST:
        return "test"
    return "dev" if number in DEV else "train"


def is_unseen(key: str) -> bool:
    """Whether the pretraining text must not explain `key` either."""
    return bucket(key) in UNSEEN
