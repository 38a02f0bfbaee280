"""chrF against sacrebleu's, whose defaults are ours: six characters, beta 2, blanks left out."""

import random

import pytest
from sacrebleu.metrics.chrf import CHRF

from jielong.evaluation.translation import chrf


@pytest.mark.parity
@pytest.mark.parametrize("seed", range(5))
def test_corpus_score(seed: int) -> None:
    rng = random.Random(seed)
    alphabet = "abcdé 一二三"
    texts = ["".join(rng.choices(alphabet, k=rng.randint(1, 25))) for _ in range(40)]
    answers = [
        "".join(c if rng.random() < 0.8 else rng.choice(alphabet) for c in text) for text in texts
    ]
    expected = CHRF().corpus_score(answers, [texts]).score
    assert chrf(answers, texts) == pytest.approx(expected, abs=1e-9)
