import lzma
import math
import random

import numpy as np
import pytest

from jielong.baselines.ngram import NgramModel
from jielong.core.errors import DataError
from jielong.data.shards import Shard
from jielong.evaluation.language_modeling import (
    bits_per_byte,
    difference,
    score,
    score_ngram,
    xz_bits_per_byte,
)


def held_out() -> Shard:
    """Two documents: 'ab' is 2 bytes in 3 tokens, '接龙' is 6 bytes in 2 tokens."""
    return Shard.pack([[1, 2], [3]], 0, ["en", "zh"], [2, 6])


def test_bits_per_byte_by_hand() -> None:
    assert bits_per_byte(8 * math.log(2), 4) == pytest.approx(2.0)
    with pytest.raises(DataError, match="0 bytes"):
        bits_per_byte(1.0, 0)


def test_score_counts_nats_by_document_and_bytes_by_text() -> None:
    nats = math.log(2) * np.array([1.0, 2.0, 1.0, 3.0, 9.0])
    result = score(held_out(), nats)
    assert result.overall.estimate == pytest.approx(16 / 8)
    assert result.by_language == pytest.approx({"en": 4 / 2, "zh": 12 / 6})


def test_a_uniform_ngram_costs_the_logarithm_of_its_vocabulary() -> None:
    """Order 1 with a full discount of counts that are all one leaves the uniform distribution."""
    model = NgramModel.fit([0, 1, 2, 3], 1, 4, discounts=np.ones((1, 3)))
    result = score_ngram(held_out(), model)
    assert result.overall.estimate == pytest.approx(5 * 2 / 8)
    assert result.by_language == pytest.approx({"en": 6 / 2, "zh": 4 / 6})


def test_difference_is_paired() -> None:
    nats = math.log(2) * np.array([1.0, 2.0, 1.0, 3.0, 9.0])
    tax = difference(held_out(), 1.5 * nats, nats)
    assert tax.estimate == pytest.approx(1.0)
    assert tax.ends == pytest.approx((1.0, 1.0))  # both documents are taxed alike


def test_a_loss_for_other_tokens_is_refused() -> None:
    with pytest.raises(DataError, match="4 values for 5 tokens"):
        score(held_out(), np.zeros(4))


def test_xz_alone_and_after_the_training_text() -> None:
    rng = random.Random(0)
    text = "".join(rng.choice("接龙的一是不了人我在") for _ in range(4000))
    plain = xz_bits_per_byte(text)
    size = len(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))
    assert plain == pytest.approx(8 * size / 12000)
    assert xz_bits_per_byte(text, after=text) < 0.1 * plain
