"""The gold labeller: a scorer that is the truth of the test-bed, and annotators who see it dimly.

    g(x, y) = sum_k w_k z_k / s          z_k = (f_k - mean_k) / std_k over samples of the SFT model
    u_a(y)  = <w_a, z> / tau_a + Gumbel(0, 1),   sorted into a ranking by annotator a

with features f in [0, 1] and s such that g has standard deviation 1 within a prompt. The difference
of two Gumbels is logistic, so pairwise marginals are exactly Bradley-Terry:
P(i over j) = sigmoid(<w_a, z_i - z_j> / tau_a). Annotators differ in taste w_a: noise alone could
not make those that a reward model never saw harder to predict.

The length feature peaks above what the SFT model writes: a small reward model learns "longer is
better" and overshoots, which is the effect that the test-bed is to show.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from jielong.core.errors import DataError
from jielong.core.seeds import generator
from jielong.feedback import features as seen
from jielong.feedback.features import Answer

Floats = NDArray[np.float64]

WEIGHTS = {
    "constraints": 0.35,
    "fluency": 0.20,
    "no_repetition": 0.15,
    "length": 0.15,
    "ending": 0.10,
    "language": 0.05,
}
LENGTH_PEAK = 1.4
"""The length that is liked best, as a multiple of what the SFT model writes on average."""

_LEAST_STD = 0.1  # a feature in which SFT samples hardly differ must not drown the others
_W = np.array(list(WEIGHTS.values()))


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What `fit` learned from SFT samples, by language or feature; plain numbers, to be stored."""

    length_peak: dict[str, float]
    fluency_mean: dict[str, float]
    fluency_std: dict[str, float]
    mean: tuple[float, ...] = (0.0,) * len(WEIGHTS)
    std: tuple[float, ...] = (1.0,) * len(WEIGHTS)
    spread: float = 1.0


@dataclass(frozen=True)
class GoldScorer:
    """The scorer. `fluency` gives the mean natural log-probability of a text's tokens."""

    fluency: Callable[[str], float]
    scale: Scale

    @classmethod
    def fit(
        cls, fluency: Callable[[str], float], groups: Sequence[Sequence[Answer]]
    ) -> "GoldScorer":
        """Set the scale on SFT samples, grouped by prompt, two or more to a prompt."""
        if not groups or min(map(len, groups)) < 2:
            raise DataError("gold: a prompt has fewer than two samples: sample two or more each")
        samples = [answer for group in groups for answer in group]
        scale = _language_scale(fluency, samples)
        raw = cls(fluency, scale).raw(samples)
        std = np.maximum(raw.std(axis=0), _LEAST_STD)
        scores = ((raw - raw.mean(axis=0)) / std) @ _W
        by_prompt = np.split(scores, np.cumsum([len(group) for group in groups])[:-1])
        within = float(np.mean([prompt.var() for prompt in by_prompt]))
        return cls(
            fluency,
            replace(
                scale,
                mean=tuple(raw.mean(axis=0).tolist()),
                std=tuple(std.tolist()),
                spread=max(math.sqrt(within), 1e-6),
            ),
        )

    def raw(self, answers: Iterable[Answer]) -> Floats:
        """Features in [0, 1], one row an answer, in the order of `WEIGHTS`."""
        rows = [list(self.parts(answer).values()) for answer in answers]
        return np.array(rows, dtype=np.float64).reshape(-1, len(WEIGHTS))

    def features(self, answers: Iterable[Answer]) -> Floats:
        """Standardised features z: what annotators judge by."""
        return (self.raw(answers) - np.array(self.scale.mean)) / np.array(self.scale.std)

    def scores(self, answers: Iterable[Answer]) -> Floats:
        """g, one number an answer; higher is better."""
        return self.features(answers) @ _W / self.scale.spread

    def parts(self, answer: Answer) -> dict[str, float]:
        """The raw features of one answer by name."""
        lang, length = seen.language(answer), len(seen.units(answer.text))
        if lang not in self.scale.length_peak:
            known = ", ".join(self.scale.length_peak)
            raise DataError(f"language: {lang!r}: the gold scorer was fitted on {known} only")
        return {
            "constraints": seen.constraints_met(answer),
            "fluency": self._fluency(answer.text, lang) if length else 0.0,
            "no_repetition": seen.no_repetition(answer.text),
            "length": seen.length_fit(length, self.scale.length_peak[lang]),
            "ending": seen.ending(answer),
            "language": seen.language_share(answer),
        }

    def _fluency(self, text: str, lang: str) -> float:
        """sigmoid of the standardised log-probability: 1/2 for the average SFT sample."""
        scaled = (self.fluency(text) - self.scale.fluency_mean[lang]) / self.scale.fluency_std[lang]
        return 1 / (1 + math.exp(-max(-50.0, scaled)))


def _language_scale(fluency: Callable[[str], float], samples: Sequence[Answer]) -> Scale:
    lengths, logps = defaultdict(list), defaultdict(list)
    for answer in samples:
        length, lang = len(seen.units(answer.text)), seen.language(answer)
        lengths[lang].append(length)
        if length:
            logps[lang].append(fluency(answer.text))
    if empty := [lang for lang in lengths if not logps[lang]]:
        raise DataError(f"gold: every {empty[0]} sample is empty: train the SFT model longer")
    return Scale(
        length_peak={k: LENGTH_PEAK * max(1.0, float(np.mean(v))) for k, v in lengths.items()},
        fluency_mean={k: float(np.mean(v)) for k, v in logps.items()},
        fluency_std={k: max(_LEAST_STD, float(np.std(v))) for k, v in logps.items()},
    )


@dataclass(frozen=True)
class Annotators:
    """A simulated annotators with tastes (A, F) and temperatures (A,).

    Neighbours in a ranking whose utilities differ by less than `tie` share a rank.
    """

    tastes: Floats
    temperatures: Floats
    tie: float = 0.1

    @classmethod
    def recruit(
        cls, number: int = 5, *, taste: float = 0.55, temperature: float = 0.4, seed: int = 0
    ) -> "Annotators":
        """Annotators around the gold weights; `taste` is how far, relative to the weights' size."""
        noise = generator(seed, "annotators").standard_normal((number, len(_W) + 1))
        gold = _W / np.linalg.norm(_W)
        tastes = gold + taste * noise[:, :-1] / math.sqrt(len(_W))
        tastes /= np.linalg.norm(tastes, axis=1, keepdims=True)
        return cls(tastes, temperature * np.exp(0.3 * noise[:, -1]))

    def rank(self, features: Floats, annotator: int, seed: int, *names: str | int) -> list[int]:
        """Ranks (K,) from 1, the best, by one annotator for answers with standardised features."""
        noise = generator(seed, "ranking", annotator, *names).gumbel(size=len(features))
        utility = features @ self.tastes[annotator] / self.temperatures[annotator] + noise
        return ranks(utility, self.tie)

    def expected_agreement(self, features: Floats) -> float:
        """Mean agreement of two annotators on pairs that both order; features (P, K, F).

        With x = <w_a, z_i - z_j> / tau_a, i is over j by more than the tie with probability
        sigmoid(x - tie), and under it with sigmoid(-x - tie).
        """
        first, second = np.triu_indices(features.shape[1], 1)
        gaps = (features[:, first] - features[:, second]).reshape(-1, features.shape[-1])
        margins = gaps @ self.tastes.T / self.temperatures
        over, under = _sigmoid(margins - self.tie), _sigmoid(-margins - self.tie)
        same = both = 0.0
        for a, b in combinations(range(len(self.tastes)), 2):
            same += float((over[:, a] * over[:, b] + under[:, a] * under[:, b]).sum())
            both += float(((over[:, a] + under[:, a]) * (over[:, b] + under[:, b])).sum())
        return same / both


def calibrate(annotators: Annotators, features: Floats, target: float = 0.73) -> Annotators:
    """The same annotators, all hotter or cooler, so that they agree as often as people do.

    Bisects the common factor of the temperatures on standardised features (P, K, F) of SFT samples.
    """
    low, high = -12.0, 12.0  # powers of two
    for _ in range(60):
        middle = (low + high) / 2
        if _heated(annotators, middle).expected_agreement(features) > target:
            low = middle
        else:
            high = middle
    best = _heated(annotators, low)
    reached = best.expected_agreement(features)
    if abs(reached - target) > 0.015:
        raise DataError(
            f"gold: annotators agree on {reached:.3f} of pairs at best, not {target}: "
            "give samples that differ more, or annotators less taste"
        )
    return best


def _heated(annotators: Annotators, power: float) -> Annotators:
    return replace(annotators, temperatures=annotators.temperatures * 2**power)


def ranks(utility: Floats, tie: float = 0.0) -> list[int]:
    """Ranks from 1 by falling utility; a neighbour less than `tie` below shares the rank."""
    order = np.argsort(-utility, kind="stable")
    drops = -np.diff(utility[order], prepend=utility[order[:1]])
    result = np.empty(len(utility), dtype=np.int64)
    result[order] = 1 + np.cumsum((drops >= tie) & (drops > 0))
    return result.tolist()


def _sigmoid(x: Floats) -> Floats:
    return 0.5 * (1 + np.tanh(x / 2))
