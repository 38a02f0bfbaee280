"""Word vectors: company makes neighbours; cosines and analogies by hand."""

import numpy as np
import pytest
from gensim.models import word2vec as gensim_word2vec

from jielong.baselines.word2vec import Word2VecConfig, analogy, neighbours, train
from jielong.core.errors import DataError

ALL = np.arange(10)


def two_companies() -> list[list[int]]:
    """Tokens 0 to 4 only ever meet each other, as do 5 to 9."""
    rng = np.random.default_rng(0)
    return [(rng.integers(0, 5, 30) + 5 * (n % 2)).tolist() for n in range(300)]


@pytest.mark.parametrize("kind", ["skip-gram", "cbow"])
def test_those_who_meet_become_neighbours(kind: str) -> None:
    config = Word2VecConfig(kind=kind, width=8, epochs=10)
    vectors = train(two_companies(), config, vocab_size=12, seed=1)
    assert vectors.shape == (12, 8)
    assert (vectors[10:] == 0).all()
    for token in range(10):
        nearest = [other for other, _ in neighbours(vectors, token, 4, ALL)]
        assert {other // 5 for other in nearest} == {token // 5}
        assert token not in nearest


def test_the_same_seed_gives_the_same_vectors() -> None:
    config = Word2VecConfig(width=8, epochs=2)
    first, again, other = (train(two_companies(), config, 12, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_no_token_of_a_long_text_is_lost() -> None:
    """A text of 30,000 tokens whose last third alone has token 2."""
    text = [0, 1] * 10_000 + [2, 1] * 5_000
    vectors = train([text], Word2VecConfig(width=4, epochs=1), vocab_size=3, seed=0)
    assert np.abs(vectors[2]).sum() > 0


def test_a_token_has_one_name_however_often_it_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name for each token seen is 60 bytes for each: 170 MB on the small corpus."""
    seen: list[list[str]] = []

    class Spy(gensim_word2vec.Word2Vec):
        def __init__(self, sentences: list[list[str]], **settings: int) -> None:
            seen.extend(sentences)
            super().__init__(sentences, **settings)

    monkeypatch.setattr(gensim_word2vec, "Word2Vec", Spy)
    train([[100, 101, 100] * 9, [101, 102] * 9], Word2VecConfig(width=2, epochs=1), 103, seed=0)
    assert {word for sentence in seen for word in sentence} == {"100", "101", "102"}
    assert len({id(word) for sentence in seen for word in sentence}) == 3


def test_a_rare_vocabulary_is_refused() -> None:
    with pytest.raises(DataError, match="min_count: 5: no token is seen so often"):
        train([[0, 1, 2]], Word2VecConfig(), vocab_size=3, seed=0)


def test_neighbours_by_hand() -> None:
    """(1, 0) has cosine 3/5 with (3, 4), 0 with (0, 2), -1 with (-2, 0); zero is nobody's."""
    vectors = np.array([[1, 0], [3, 4], [0, 2], [-2, 0], [0, 0]], dtype=np.float32)
    found = neighbours(vectors, 0, 3, np.array([0, 1, 2, 3]))
    assert [token for token, _ in found] == [1, 2, 3]
    np.testing.assert_allclose([cosine for _, cosine in found], [0.6, 0, -1], atol=1e-6)
    assert [token for token, _ in neighbours(vectors, 0, 3, np.array([2, 3]))] == [2, 3]


def test_analogy_by_hand() -> None:
    """Gender is the second axis, rank the third: king - man + woman is queen, whatever lengths."""
    man, woman, king, queen, duke = range(5)
    vectors = np.array(
        [[1, 1, 0], [1, -1, 0], [10, 10, 10], [2, -2, 2], [3, 1, 1]], dtype=np.float32
    )
    found = [token for token, _ in analogy(vectors, king, man, woman, 5, np.arange(5))]
    assert found == [queen, duke]


def test_impossible_settings_are_named() -> None:
    with pytest.raises(ValueError, match="window: 0"):
        Word2VecConfig(window=0)
