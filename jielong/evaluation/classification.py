"""How often answers of a few kinds are right, and what always giving the commonest is worth."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jielong.core.errors import DataError
from jielong.evaluation.statistics import Interval, wilson


@dataclass(frozen=True)
class ClassificationScore:
    """Accuracy with its interval, and the F1 of each class averaged with equal weights."""

    n: int
    accuracy: Interval
    macro_f1: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"n": self.n, "accuracy": self.accuracy.to_dict(), "macro_f1": self.macro_f1}


def classification_score(expected: Sequence[str], answered: Sequence[str]) -> ClassificationScore:
    """Compare answers with what was expected.

    F1 = 2 TP / (2 TP + FP + FN), over the classes that were expected or answered.
    """
    if len(expected) != len(answered) or not expected:
        raise DataError(
            f"{len(answered)} answers to {len(expected)} examples: give one to each, and at least "
            "one example"
        )
    right = Counter(e for e, a in zip(expected, answered, strict=True) if e == a)
    asked, given = Counter(expected), Counter(answered)
    scores = [2 * right[c] / (asked[c] + given[c]) for c in asked | given]
    accuracy = wilson(right.total(), len(expected))
    return ClassificationScore(len(expected), accuracy, sum(scores) / len(scores))


def majority(labels: Sequence[str]) -> str:
    """The commonest label; of equally common ones the first in order."""
    counts = Counter(labels)
    return min(counts, key=lambda label: (-counts[label], label))
