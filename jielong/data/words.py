"""Which tokens of a corpus are one word: what whole-word masking hides together.

A word is a run of letters or of digits with the space before it; in Chinese, which writes no
spaces, it is what a segmenter finds. Any other character (a mark, a blank) is a word of its own.
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np

from jielong.core import optional

_HAN = "\u3400-\u9fff\U00020000-\U000323af"
_WORD = re.compile(rf"(?P<han>[{_HAN}]+)| ?(?:(?![{_HAN}])[^\W\d_])+| ?\d+|.", re.DOTALL)


def number_words(tokens: np.ndarray, token_bytes: Sequence[bytes]) -> np.ndarray:
    """The number (N,) of each token's word: equal for the tokens of one, growing along `tokens`.

    `token_bytes` says what each id stands for; special tokens have no bytes, and end a word.
    Raises `DataError` where there is Chinese and no segmenter.
    """
    sizes = np.array([len(token) for token in token_bytes])[tokens]
    begins = np.ones(len(tokens), dtype=bool)
    edges = np.flatnonzero(sizes == 0)
    for start, end in zip(np.append(0, edges + 1), np.append(edges, len(tokens)), strict=True):
        raw = b"".join(token_bytes[i] for i in tokens[start:end])
        starts = np.zeros(len(raw), dtype=np.int64)
        starts[list(_starts(raw))] = 1
        places = np.cumsum(sizes[start:end]) - sizes[start:end]  # where each token's bytes begin
        words = np.cumsum(starts)[places]
        begins[start + 1 : end] = words[1:] != words[:-1]
    return np.cumsum(begins) - 1


def _starts(raw: bytes) -> Iterator[int]:
    """Where words begin, in bytes."""
    # A byte that is part of no character becomes a lone surrogate: one character, and no letter.
    text = raw.decode("utf-8", errors="surrogateescape")
    offsets = np.cumsum([0, *(len(c.encode("utf-8", "surrogateescape")) for c in text)]).tolist()
    for match in _WORD.finditer(text):
        place = match.start()
        for word in _segment(match[0]) if match["han"] else [match[0]]:
            yield offsets[place]
            place += len(word)


def _segment(text: str) -> list[str]:
    """The words of Chinese text."""
    return optional.load("rjieba", "Whole-word masking of Chinese").cut(text)
