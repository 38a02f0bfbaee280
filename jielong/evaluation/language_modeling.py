"""Bits per byte: how well a model predicts text, whatever its vocabulary.

Natural-log losses are summed over the tokens of the held-out documents, and divided by the UTF-8
bytes of those documents; the marks between documents cost nats but count no bytes, for the neural
model and the n-gram alike. A model that has to be beaten stands beside each figure.
"""

from __future__ import annotations

import lzma
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jielong.baselines.ngram import NgramModel
from jielong.core.errors import DataError
from jielong.data.shards import Shard
from jielong.evaluation.statistics import Interval, bootstrap, ratio

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class BitsPerByte:
    """One model's figure over all held-out text and over each language's share of it."""

    overall: Interval
    by_language: dict[str, float]


def bits_per_byte(total_nats: float, total_bytes: int) -> float:
    """Nats over bytes, in bits."""
    if total_bytes < 1:
        raise DataError(f"bits per byte: {total_bytes} bytes of text: score at least one")
    return total_nats / math.log(2) / total_bytes


def document_nats(shard: Shard, token_nats: Floats) -> Floats:
    """Sum a loss per token into one per document. # (tokens,) -> (documents,)."""
    if len(token_nats) != len(shard.tokens):
        raise DataError(f"held-out loss: {len(token_nats)} values for {len(shard.tokens)} tokens")
    return np.add.reduceat(token_nats, shard.starts)


def score(shard: Shard, token_nats: Floats, *, seed: int = 0) -> BitsPerByte:
    """Any model's bits per byte from its loss on each token, with a document bootstrap."""
    nats = document_nats(shard, token_nats)
    languages = shard.languages
    by_language = {
        str(language): bits_per_byte(
            float(nats[languages == language].sum()),
            int(shard.text_bytes[languages == language].sum()),
        )
        for language in np.unique(languages)
    }
    return BitsPerByte(_interval(shard, nats, seed), by_language)


def score_ngram(shard: Shard, model: NgramModel) -> BitsPerByte:
    """An n-gram model's bits per byte; its context runs across document marks, as in training."""
    return score(shard, -model.logp(shard.tokens))


def difference(shard: Shard, a_nats: Floats, b_nats: Floats, *, seed: int = 0) -> Interval:
    """Bits per byte of a minus those of b, documents drawn in pairs (the alignment tax)."""
    gap = document_nats(shard, a_nats) - document_nats(shard, b_nats)
    return _interval(shard, gap, seed)


def xz_bits_per_byte(text: str, after: str = "") -> float:
    """What `xz -9e` needs for each byte of `text`.

    Without `after` it is the plain size of the compressed held-out text, the figure that reports
    call xz: a general compressor that has to find the language in the text at hand. With the
    training text as `after` it is size(after + text) - size(after), what xz makes of the same
    knowledge that a trained model has; the fairer rival, and a stronger one.
    """
    if not text:
        raise DataError("xz: no text: give at least one character")
    size = _xz_bytes(after + text) - (_xz_bytes(after) if after else 0)
    return 8 * size / len(text.encode())


def _interval(shard: Shard, nats: Floats, seed: int) -> Interval:
    sums = np.stack([nats / math.log(2), shard.text_bytes.astype(np.float64)], axis=1)
    return bootstrap(sums, ratio, seed=seed)


def _xz_bytes(text: str) -> int:
    return len(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))
