"""How counts become probabilities: what a gram keeps, and what it leaves to those never seen.

Each rule turns the counts of one gram length into two arrays, and the model does the rest:

    own   (grams,)     the share of its context's probability that a seen gram has for itself
    rest  (contexts,)  the factor on the shorter context's probability

Stupid backoff (Brants et al. 2007) is left out on purpose: its scores do not sum to one, so they
have no bits per byte. Katz's rule is the backoff that is a distribution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Kind = Literal["kneser-ney", "katz", "add-k"]

FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)
"""For counts of counts too thin to estimate from (tiny corpora, closed vocabularies)."""

RELIABLE = 5
"""Katz's k: what was seen more often than this is believed as it stands."""

_NOTHING = 1e-12  # a probability that only rounding has left


@dataclass(frozen=True, kw_only=True)
class Smoothing:
    """Which rule; `k` is what add-k adds to every count (0 is maximum likelihood)."""

    kind: Kind = "kneser-ney"
    k: float = 0.01

    def __post_init__(self) -> None:
        """Refuse what would take counts away."""
        if self.k < 0:
            raise ValueError(f"k: {self.k}: add 0 or more to each count")


def kneser_ney(
    counts: Ints, context: Ints, contexts: int, discounts: Floats
) -> tuple[Floats, Floats]:
    """Interpolated: each count gives up a discount (D1, D2, D3+), its context's are shared out.

    Chen & Goodman 1998, section 3; interpolated, so that `rest` counts for seen grams too.
    """
    # A gram seen only at the very start of the stream has no left neighbour: count 0, kept 0.
    seen = counts.astype(np.float64)
    taken = np.minimum(np.concatenate([[0.0], discounts])[np.minimum(counts, 3)], seen)
    total = _sums(context, seen, contexts)
    return _ratio(seen - taken, total[context], 0.0), _ratio(
        _sums(context, taken, contexts), total, 1.0
    )


def add_k(
    counts: Ints, context: Ints, contexts: int, k: float, vocab_size: int
) -> tuple[Floats, Floats]:
    """(c + k) / (C + kV), as a mixture with the uniform distribution 1/V (Lidstone)."""
    seen = counts.astype(np.float64)
    total = _sums(context, seen, contexts) + k * vocab_size
    return seen / total[context], _ratio(np.full(contexts, k * vocab_size), total, 1.0)


def katz(counts: Ints, context: Ints, contexts: int, lower: Floats) -> tuple[Floats, Floats]:
    """Backoff: a seen gram keeps d_c c / C, an unseen one gets its share of what that leaves.

    Katz 1987 (doi:10.1109/TASSP.1987.1165125). `lower` (grams,) is each gram's probability without
    its oldest token; `rest` is what is left, over what the shorter context has for the unseen.
    """
    seen = counts.astype(np.float64)
    factor = np.ones(int(counts.max(initial=0)) + 1)
    known = min(RELIABLE, len(factor) - 1)
    factor[1 : known + 1] = good_turing(counts)[:known]
    kept = seen * factor[counts]
    total = _sums(context, seen, contexts)
    # Where only reliable counts follow nothing is left over, and what is new would be impossible:
    # such a context counts as seen once more (as SRILM does).
    total += _sums(context, kept, contexts) > total - _NOTHING
    own = kept / total[context]
    left = 1.0 - _sums(context, own, contexts)
    room = 1.0 - _sums(context, lower, contexts)
    # Where every token was seen there is nobody to leave it to: the seen share it out.
    full = room < _NOTHING
    own /= np.where(full, 1.0 - left, 1.0)[context]
    return own, np.where(full, 0.0, left / np.where(full, 1.0, room))


def estimate_discounts(counts: Ints) -> tuple[float, float, float]:
    """D1, D2, D3+ from counts of counts (Chen & Goodman 1998, eq. 26), or the fall-back.

    The estimate needs grams seen once to four times and Zipf-like counts; where it would leave
    [0, count] it is no discount at all.
    """
    n1, n2, n3, n4 = (int(np.count_nonzero(counts == n)) for n in (1, 2, 3, 4))
    if min(n1, n2, n3, n4) == 0:
        return FALLBACK_DISCOUNTS
    y = n1 / (n1 + 2 * n2)
    estimate = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    usable = all(0 < d <= count for count, d in enumerate(estimate, start=1))
    return estimate if usable else FALLBACK_DISCOUNTS


def good_turing(counts: Ints) -> Floats:
    """The factors d_1 .. d_5 on unreliable counts of Katz 1987, or (c - 1/2) / c.

    The estimate needs grams seen once to six times and counts that fall; else half a count goes.
    """
    n = [int(np.count_nonzero(counts == r)) for r in range(1, RELIABLE + 2)]
    seen = np.arange(1, RELIABLE + 1)
    if min(n) > 0:
        tail = (RELIABLE + 1) * n[RELIABLE] / n[0]
        expected = np.array([(r + 1) * n[r] / n[r - 1] for r in seen])  # r*, the adjusted count
        factors = (expected / seen - tail) / (1 - tail) if tail < 1 else np.zeros(RELIABLE)
        if np.all((factors > 0) & (factors < 1)):
            return factors
    return (seen - 0.5) / seen


def _sums(context: Ints, values: Floats, contexts: int) -> Floats:
    # without any gram, bincount forgets its weights and counts in integers
    return np.bincount(context, weights=values, minlength=contexts).astype(np.float64)


def _ratio(above: Floats, below: Floats, otherwise: float) -> Floats:
    """above / below, and `otherwise` where there is nothing below."""
    result = np.full(len(below), otherwise)
    return np.divide(above, below, out=result, where=below > 0)
