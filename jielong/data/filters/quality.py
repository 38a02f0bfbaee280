"""GPT-3's quality classifier (arXiv:2005.14165, app. A): is a text like those we trust?

A linear model over hashed features, one for each language, gives a score between 0 and 1, and a
document is kept with a probability that grows with it: mostly what scores high, and some of the
rest, so that what differs from the trusted texts is not shut out.
"""

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from jielong.core.errors import DataError
from jielong.core.files import atomic_writer, canonical_json, write_atomic
from jielong.core.seeds import derive
from jielong.data.documents import Block, Document, Dropped
from jielong.data.filters import damage
from jielong.data.filters.scripts import Kind, count

FEATURES = 2**18
_PATTERNS: dict[str, dict[str, Any]] = {
    "zh": {"analyzer": "char", "ngram_range": (1, 2)},
    # Pairs of words besides words: else a text and its shuffled copy are one and the same.
    "en": {"analyzer": "word", "ngram_range": (1, 2), "token_pattern": r"\w+|[^\w\s]"},
}
_INVERSE_REGULARISATION = 100.0
_HELD_OUT = 5  # one group in so many judges the model and trains nothing
_FEWEST = 10  # documents on either side of the wall, good or bad
_QUANTILES = tuple((number + 0.5) / 100 for number in range(100))
_LARGEST_ALPHA = 1000.0
_DRAWS = 2**63  # `derive` gives so many values
_NEEDED = "judging quality needs scikit-learn: pip install 'jielong[data]'"
_WEIGHTS_FILE, _CARD_FILE = "quality.npz", "quality.json"


@dataclass(frozen=True, kw_only=True)
class QualityConfig:
    """The recipe of resampling by quality."""

    alpha: float | Literal["match"] = 9.0  # "match": what is kept scores as trusted texts do

    def __post_init__(self) -> None:
        if self.alpha != "match" and not 0 <= self.alpha <= _LARGEST_ALPHA:
            raise ValueError(f"alpha: {self.alpha}: 'match', or from 0 to {_LARGEST_ALPHA:g}")


@dataclass(frozen=True, kw_only=True, eq=False)
class LanguageModel:
    """The classifier of one language, and how it did on texts held out from its training."""

    weights: NDArray[np.float32]
    bias: float
    documents: tuple[int, int]  # good, bad
    auc: float
    positive_scores: tuple[float, ...]  # the held-out trusted texts, as a hundred quantiles

    def card(self) -> dict[str, Any]:
        """All but the weights, and their hash, as plain JSON values."""
        return {
            "bias": self.bias,
            "documents": list(self.documents),
            "auc": self.auc,
            "positive_scores": list(self.positive_scores),
            "weights_sha256": _sha256(self.weights),
        }


@dataclass(frozen=True, eq=False)
class QualityModel:
    """Classifiers by language."""

    languages: Mapping[str, LanguageModel]

    def score(self, text: str, lang: str) -> float:
        """How much like the trusted texts: 0 to 1, rounded so that machines agree."""
        name = _classifier_for(text, lang)
        if name not in self.languages:
            raise DataError(
                f"quality: no classifier for {lang!r} text, only for "
                f"{', '.join(sorted(self.languages))}: add such texts to the positives"
            )
        model = self.languages[name]
        return _score(model.weights, model.bias, text, name)

    def positive_scores(self) -> list[float]:
        """The scores of held-out trusted texts, the aim of `match_alpha`."""
        return [score for model in self.languages.values() for score in model.positive_scores]

    def save(self, directory: Path) -> str:
        """Write the weights and the card; the card file's SHA-256 names the whole model."""
        with atomic_writer(directory / _WEIGHTS_FILE) as file:
            weights: dict[str, Any] = {n: model.weights for n, model in self.languages.items()}
            np.savez(file, **weights)
        cards = {name: model.card() for name, model in self.languages.items()}
        card = canonical_json(cards) + "\n"
        write_atomic(directory / _CARD_FILE, card)
        return hashlib.sha256(card.encode()).hexdigest()

    @classmethod
    def load(cls, directory: Path) -> "QualityModel":
        """Read what `save` wrote; raises `DataError` if it is not whole."""
        try:
            cards = json.loads((directory / _CARD_FILE).read_text(encoding="utf-8"))
            with np.load(directory / _WEIGHTS_FILE) as weights:
                return cls({name: _read(card, weights[name]) for name, card in cards.items()})
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise DataError(
                f"{directory}: no quality classifier ({error}): train it again"
            ) from None


def _read(card: Mapping[str, Any], weights: NDArray[np.float32]) -> LanguageModel:
    if _sha256(weights) != card["weights_sha256"]:
        raise ValueError("the weights are not those of its card")
    good, bad = card["documents"]
    return LanguageModel(
        weights=weights,
        bias=card["bias"],
        documents=(good, bad),
        auc=card["auc"],
        positive_scores=tuple(card["positive_scores"]),
    )


def train(positives: Iterable[Document], negatives: Iterable[Document], seed: int) -> QualityModel:
    """Learn to tell trusted texts from the others; without others, from their own damaged copies.

    The order of the documents does not matter. Raises `DataError` if a language has too few.
    """
    good, bad = _by_classifier(positives), _by_classifier(negatives)
    if not any(bad.values()):
        bad = {name: damage.generate(documents, seed) for name, documents in good.items()}
    if not any(good.values()):
        raise DataError("quality: no positives: name at least one source of trusted texts")
    return QualityModel({n: _train_one(n, good[n], bad.get(n, []), seed) for n in sorted(good)})


def _by_classifier(documents: Iterable[Document]) -> dict[str, list[Document]]:
    found: dict[str, list[Document]] = defaultdict(list)
    for document in sorted(documents, key=lambda document: document.id):
        found[_classifier_for(document.text, document.lang)].append(document)
    return found


def _train_one(
    name: str, good: Sequence[Document], bad: Sequence[Document], seed: int
) -> LanguageModel:
    """Fit four fifths of the documents and judge by the rest, whole groups at a time."""
    documents = [*good, *bad]
    is_good = np.array([True] * len(good) + [False] * len(bad))
    is_held_out = np.array([_is_held_out(document, seed) for document in documents])
    for side, wall in (("train", ~is_held_out), ("judge", is_held_out)):
        for what, kind in (("positives", is_good), ("negatives", ~is_good)):
            if (found := int((wall & kind).sum())) < _FEWEST:
                raise DataError(
                    f"quality: {found} {name} {what} to {side} the classifier with, "
                    f"at least {_FEWEST} needed: add documents of other groups"
                )
    texts = [document.text for document in documents]
    features = _vectorizer(name).transform(texts)
    classifier = _logistic_regression()
    classifier.fit(features[~is_held_out], is_good[~is_held_out])
    weights, bias = classifier.coef_[0].astype(np.float32), float(classifier.intercept_[0])
    held_out = np.flatnonzero(is_held_out)
    scores = np.array([_score(weights, bias, texts[place], name) for place in held_out])
    quantiles = np.quantile(scores[is_good[held_out]], _QUANTILES, method="inverted_cdf")
    return LanguageModel(
        weights=weights,
        bias=bias,
        documents=(len(good), len(bad)),
        auc=_auc(scores, is_good[held_out]),
        positive_scores=tuple(quantiles.tolist()),
    )


def keep_probability(score: float, alpha: float) -> float:
    """With which probability a document of this score is kept.

    The paper keeps it if numpy's `pareto(alpha) > 1 - score`. That distribution begins at 0 and
    has P(X > x) = (1 + x)^-alpha, hence (2 - score)^-alpha: certain at score 1.
    """
    return (2 - score) ** -alpha


def is_drawn(document_id: str, score: float, alpha: float, seed: int) -> bool:
    """Whether this document is among those kept, whatever other documents there are."""
    return derive(seed, "quality", document_id) / _DRAWS < keep_probability(score, alpha)


def match_alpha(scores: Sequence[float], wanted: Sequence[float]) -> float:
    """The alpha with which what is kept of `scores` has the mean of `wanted`, to 0.01.

    The mean of what is kept rises with alpha, so halving finds it. No alpha may reach it: then the
    largest sensible one, and 0, which keeps all, if the candidates score higher as they are.
    """
    if not scores or not wanted:
        raise DataError("quality: alpha = 'match' needs candidates and held-out positives")
    found, aim = np.array(scores), float(np.mean(wanted))
    low, high = 0.0, _LARGEST_ALPHA
    if float(found.mean()) >= aim:
        return 0.0
    while high - low > 0.01:
        middle = (low + high) / 2
        log_weights = -middle * np.log(2 - found)  # of these the largest is the safest to lift by
        weights = np.exp(log_weights - log_weights.max())
        if float(found @ weights / weights.sum()) < aim:
            low = middle
        else:
            high = middle
    return round(high, 2)


def block(model: QualityModel, alpha: float, seed: int) -> Block:
    """The step that keeps a document by the draw that belongs to its id."""
    return partial(_resample, model=model, alpha=alpha, seed=seed)


def _resample(
    document: Document, model: QualityModel, alpha: float, seed: int
) -> Document | Dropped:
    score = model.score(document.text, document.lang)
    if is_drawn(document.id, score, alpha, seed):
        return document
    detail = f"score {score:.4f}: kept with probability {keep_probability(score, alpha):.4f}"
    return Dropped(document=document, rule="quality.score", detail=detail)


def _classifier_for(text: str, lang: str) -> str:
    """Mixed text is judged as Chinese if it has more Han characters than Latin words."""
    if lang != "mixed":
        return lang
    found = count(text)
    return "zh" if found.counts[Kind.HAN] >= found.runs[Kind.LATIN] else "en"


def _is_held_out(document: Document, seed: int) -> bool:
    name = f"{document.source}/{document.group}"
    return derive(seed, "quality held out", name) % _HELD_OUT == 0


def _score(weights: NDArray[np.float32], bias: float, text: str, name: str) -> float:
    analyse, hasher = _steps(name)  # the vectorizer's own checks would take as long as its work
    features = hasher.transform([analyse(text)])
    length = math.sqrt(float(features.data @ features.data)) or 1.0
    margin = float(features.data @ weights[features.indices].astype(np.float64)) / length + bias
    return round((1 + math.tanh(margin / 2)) / 2, 4)  # the logistic function, without overflow


def _auc(scores: NDArray[np.float64], is_good: NDArray[np.bool_]) -> float:
    """How often a good text scores above a bad one, ties counting half."""
    bad = np.sort(scores[~is_good])
    below = np.searchsorted(bad, scores[is_good], side="left")
    up_to = np.searchsorted(bad, scores[is_good], side="right")
    return round(float((below + up_to).mean() / (2 * len(bad))), 6)


def _sha256(weights: NDArray[np.float32]) -> str:
    return hashlib.sha256(weights.astype("<f4").tobytes()).hexdigest()


@cache
def _vectorizer(name: str) -> Any:  # noqa: ANN401 - scikit-learn has no types
    try:
        from sklearn.feature_extraction.text import HashingVectorizer
    except ImportError:
        raise DataError(_NEEDED) from None
    if name not in _PATTERNS:
        raise DataError(f"quality: {name!r} text: only {', '.join(_PATTERNS)} can be judged")
    return HashingVectorizer(n_features=FEATURES, alternate_sign=False, **_PATTERNS[name])


@cache
def _steps(name: str) -> tuple[Callable[[str], list[str]], Any]:
    """What the vectorizer does, but for the scaling to length 1: cutting up, and hashing."""
    from sklearn.feature_extraction import FeatureHasher

    analyse = _vectorizer(name).build_analyzer()
    return analyse, FeatureHasher(FEATURES, input_type="string", alternate_sign=False)


def _logistic_regression() -> Any:  # noqa: ANN401 - scikit-learn has no types
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise DataError(_NEEDED) from None
    return LogisticRegression(
        C=_INVERSE_REGULARISATION, solver="liblinear", class_weight="balanced", max_iter=1000
    )
