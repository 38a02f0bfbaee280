"""How near a translation comes to the reference: chrF."""

from collections import Counter
from collections.abc import Sequence

from jielong.core.errors import DataError

ORDER = 6
BETA = 2.0


def chrf(answers: Sequence[str], references: Sequence[str]) -> float:
    """Character n-gram F-score of a corpus, 0 to 100; recall counts `BETA` times as much.

    Popovic 2015 (doi:10.18653/v1/W15-3049), eq. 1: precision and recall are summed over the corpus
    for each n of 1 to `ORDER`, averaged over n, then combined. Blanks are left out. An n for which
    either side has no grams does not count; nor do an answer's grams of an n that its reference is
    too short for (as in sacrebleu).
    """
    if len(answers) != len(references) or not references:
        raise DataError(f"chrF: {len(answers)} answers, {len(references)} references: pair them")
    precisions, recalls = [], []
    for n in range(1, ORDER + 1):
        shared = given = wanted = 0
        for answer, reference in zip(answers, references, strict=True):
            ours, theirs = _grams(answer, n), _grams(reference, n)
            shared += (ours & theirs).total()
            given += ours.total() if theirs else 0
            wanted += theirs.total()
        if given and wanted:
            precisions.append(shared / given)
            recalls.append(shared / wanted)
    if not precisions:
        return 0.0
    precision = sum(precisions) / len(precisions)
    recall = sum(recalls) / len(recalls)
    below = BETA**2 * precision + recall
    return 100 * (1 + BETA**2) * precision * recall / below if below else 0.0


def _grams(text: str, n: int) -> Counter[str]:
    dense = "".join(text.split())
    return Counter(dense[i : i + n] for i in range(len(dense) - n + 1))
