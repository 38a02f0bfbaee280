"""Word vectors: words that stand in the same company come to lie in the same direction.

CBOW and skip-gram (Mikolov et al., arXiv:1301.3781, sections 3.1 and 3.2) with negative sampling
(arXiv:1310.4546, eq. 4), by gensim. "Words" here are the tokenizer's tokens: single Han characters,
and pieces of English words. Neighbours and analogies are for any matrix of vectors, so a
transformer's embedding is read alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from jielong.core.config import check_positive
from jielong.core.errors import DataError
from jielong.core.optional import load

Tokens = Sequence[int] | NDArray[np.integer]
Vectors = NDArray[np.float32]
_SENTENCE = 5_000  # tokens: gensim cuts off what a longer text has


@dataclass(frozen=True, kw_only=True)
class Word2VecConfig:
    """`window` tokens to either side are company; `negative` drawn tokens are not.

    `kind` is what is predicted: the company from the token ("skip-gram"), or the token from its
    company ("cbow"). Tokens seen less than `min_count` times have no vector.
    """

    kind: Literal["skip-gram", "cbow"] = "skip-gram"
    width: int = 128
    window: int = 5
    negative: int = 5
    epochs: int = 3
    min_count: int = 5

    def __post_init__(self) -> None:
        """Refuse what cannot be trained; the message begins with the setting's name."""
        check_positive(self, "width", "window", "negative", "epochs", "min_count")


def train(
    documents: Sequence[Tokens], config: Word2VecConfig, vocab_size: int, seed: int
) -> Vectors:
    """A vector for each token (V, C); zero for those too rare to have one.

    One worker, because the order in which several would meet is nobody's choice.
    """
    word2vec = load("gensim.models.word2vec", "word2vec", extra="baselines")
    names = [str(token) for token in range(vocab_size)]  # each once, not once for each token
    sentences = [
        [names[token] for token in document[start : start + _SENTENCE]]
        for document in documents
        for start in range(0, len(document), _SENTENCE)
    ]
    counts = np.bincount(np.concatenate([np.asarray(tokens) for tokens in documents]))
    if counts.max() < config.min_count:
        raise DataError(f"min_count: {config.min_count}: no token is seen so often: lower it")
    model = word2vec.Word2Vec(
        sentences,
        vector_size=config.width,
        window=config.window,
        negative=config.negative,
        epochs=config.epochs,
        min_count=config.min_count,
        sg=config.kind == "skip-gram",
        seed=seed % 2**32,
        workers=1,
    )
    vectors = np.zeros((vocab_size, config.width), dtype=np.float32)
    vectors[[int(word) for word in model.wv.index_to_key]] = model.wv.vectors
    return vectors


def neighbours(
    vectors: Vectors, token: int, number: int, among: NDArray[np.integer]
) -> list[tuple[int, float]]:
    """The `number` tokens of `among` nearest to `token` by cosine, itself left out, with theirs."""
    return _nearest(vectors, vectors[token], number, among, (token,))


def analogy(
    vectors: Vectors, a: int, b: int, c: int, number: int, among: NDArray[np.integer]
) -> list[tuple[int, float]]:
    """What is to c as a is to b: the tokens nearest to a - b + c, the three left out.

    The directions are added, not the vectors: a frequent token's length would drown the others
    (3CosAdd, Levy & Goldberg 2014).
    """
    unit = _unit(vectors[[a, b, c]])
    return _nearest(vectors, unit[0] - unit[1] + unit[2], number, among, (a, b, c))


def _nearest(
    vectors: Vectors,
    direction: NDArray[np.floating],
    number: int,
    among: NDArray[np.integer],
    without: tuple[int, ...],
) -> list[tuple[int, float]]:
    candidates = among[~np.isin(among, without)]
    cosines = _unit(vectors[candidates]) @ _unit(direction[None])[0]
    best = np.argsort(-cosines, kind="stable")[:number]
    return [(int(candidates[place]), float(cosines[place])) for place in best]


def _unit(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    """Rows of length one; a row of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1.0)
