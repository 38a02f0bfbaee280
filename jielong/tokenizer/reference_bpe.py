"""Byte-pair encoding in plain Python, to read and to watch; the fast one is in `bpe.py`.

Learning: count every pair of neighbours, merge the most frequent one everywhere, repeat. Encoding
applies the merges to a new text in the order they were learned. Two variants differ in what they
begin with:

- `bytes`, as in GPT-2: any text can be written;
- `characters`, as in arXiv:1508.07909: those of the training text, with a mark at the start of each
  word. The mark is the space itself; the first word gets one too, which decoding takes away.

Of two pairs that are equally frequent, the one with the smaller ids is merged: nothing is left to
chance. `tokenizers` decides the same way, so both learn the same merges.
"""

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from jielong.core.errors import DataError
from jielong.tokenizer.byte_characters import CHARACTER_OF
from jielong.tokenizer.pieces import refuse_surrogates

Variant = Literal["bytes", "characters"]
Pair = tuple[int, int]
Cut = Callable[[str], list[str]]
_WORD = re.compile(r" ?[^ ]+| ")


def words(text: str) -> list[str]:
    """The words of `text`, each with the space before it; joined, they are the text."""
    return _WORD.findall(text)


@dataclass(frozen=True)
class ReferenceBPE:
    """What was learned: the bytes of each id, and which pair became which id, in order."""

    variant: Variant
    tokens: tuple[bytes, ...]
    merges: dict[Pair, int]

    @classmethod
    def train(
        cls, text: str, merges: int, variant: Variant = "bytes", cut: Cut = words
    ) -> "ReferenceBPE":
        """Learn up to `merges` merges from `text`, each inside the pieces that `cut` makes."""
        refuse_surrogates(text)
        tokens = _alphabet(text, variant)
        learned: dict[Pair, int] = {}
        untrained = cls(variant, tuple(tokens), {})
        counted = Counter(tuple(piece) for piece in untrained.pieces(text, cut))
        for _ in range(merges):
            pairs: Counter[Pair] = Counter()
            for piece, count in counted.items():
                for pair in itertools.pairwise(piece):
                    pairs[pair] += count
            if not pairs:
                break
            best = min(pairs, key=lambda pair: (-pairs[pair], pair))
            learned[best] = len(tokens)
            tokens.append(tokens[best[0]] + tokens[best[1]])
            merged: Counter[tuple[int, ...]] = Counter()
            for piece, count in counted.items():
                merged[tuple(merge(piece, best, learned[best]))] += count
            counted = merged
        return cls(variant, tuple(tokens), learned)

    def encode(self, text: str, cut: Cut = words) -> list[int]:
        """The ids of `text`. The `characters` variant raises `DataError` on an unknown one."""
        ids: list[int] = []
        for piece in self.pieces(text, cut):
            *_, (last, _) = steps(piece, self.merges)
            ids += last
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text again, exactly."""
        text = b"".join(self.tokens[i] for i in ids).decode("utf-8", errors="replace")
        return text[1:] if self.variant == "characters" else text

    def pieces(self, text: str, cut: Cut = words) -> Iterator[list[int]]:
        """Each piece of `text` as ids, before anything is merged."""
        refuse_surrogates(text)
        known = {token: i for i, token in enumerate(self.tokens[: -len(self.merges) or None])}
        if self.variant == "bytes":
            for piece in cut(text):
                yield [known[bytes([byte])] for byte in piece.encode()]
            return
        for piece in cut(f" {text}"):
            unknown = [character for character in piece if character.encode() not in known]
            if unknown:
                raise DataError(f"{unknown[0]!r}: never seen in training: use the bytes variant")
            yield [known[character.encode()] for character in piece]


def merge(ids: Sequence[int], pair: Pair, into: int) -> list[int]:
    """`ids` with each occurrence of `pair`, taken from the left, replaced by `into`."""
    merged: list[int] = []
    for token in ids:
        if merged and (merged[-1], token) == pair:
            merged[-1] = into
        else:
            merged.append(token)
    return merged


def steps(ids: Sequence[int], merges: Mapping[Pair, int]) -> Iterator[tuple[list[int], int | None]]:
    """`ids` as they are, then after each merge and with the id it made; what was learned first is
    merged first."""
    ids, made = list(ids), None
    yield ids, made
    while found := [pair for pair in itertools.pairwise(ids) if pair in merges]:
        pair = min(found, key=lambda pair: merges[pair])
        made = merges[pair]
        ids = merge(ids, pair, made)
        yield ids, made


def _alphabet(text: str, variant: Variant) -> list[bytes]:
    """The bytes in GPT-2's order, or the characters of `text` in Unicode's."""
    if variant == "bytes":
        return [bytes([byte]) for byte in CHARACTER_OF]
    return [character.encode() for character in sorted({" ", *text})]
