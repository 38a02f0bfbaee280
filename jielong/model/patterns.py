"""Which positions each layer attends to: the pattern string of a recipe, and what it means.

A pattern names a set S_i for every position i (strided and fixed: arXiv:1904.10509, section 4.3,
both parts in one head as in eq. 7; sliding: arXiv:2004.05150, section 3.1; GPT-3 alternates dense
and banded layers, arXiv:2005.14165, section 2.1):

    dense        S_i = {j: j <= i}
    sliding:l    S_i = {j: i-l < j <= i}
    strided:l    S_i = {j: i-l < j <= i} and {j <= i: (i-j) mod l = 0}
    fixed:l:c    S_i = {j <= i: j//l = i//l} and {j <= i: j mod l >= l-c}

A string holds one or more of them, `*n` repeating one, and is cycled over the layers:
`"sliding:512*5 dense"` is five banded layers, one dense layer, and so on. `allowed` is the
definition itself; `sparse_attention` computes the same without making a mask over all pairs.
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

from jaxtyping import Bool, Int
from torch import Tensor

Kind = Literal["dense", "sliding", "strided", "fixed"]

# Digits are counted: a slip of the finger must not become a billion layers.
ENTRY = re.compile(
    r"(?:(dense)|(sliding|strided):([0-9]{1,9})|(fixed):([0-9]{1,9}):([0-9]{1,9}))"
    r"(?:\*([1-9][0-9]{0,2}))?"
)
GRAMMAR = (
    "dense, sliding:l, strided:l or fixed:l:c, l from 1 to 999999999, c from 0 to l, "
    "each followed by *n or not, n from 1 to 999"
)


@dataclass(frozen=True)
class Pattern:
    """What the positions of one layer attend to; `length` is l, `tail` is c, 0 where unused."""

    kind: Kind
    length: int = 0
    tail: int = 0


def parse(text: str) -> tuple[Pattern, ...]:
    """The patterns that a recipe's string spells, repetitions written out.

    Raises ValueError, in one line, with the entry that cannot be read.
    """
    patterns: list[Pattern] = []
    for entry in text.split():
        found = ENTRY.fullmatch(entry)
        if found is None:
            raise ValueError(f"{entry!r}: must be {GRAMMAR}")
        dense, banded, band, fixed, block, tail, count = found.groups()
        kind = cast("Kind", dense or banded or fixed)
        pattern = Pattern(kind, int(band or block or 0), int(tail or 0))
        if (kind != "dense" and pattern.length < 1) or pattern.tail > pattern.length:
            raise ValueError(f"{entry!r}: must be {GRAMMAR}")
        patterns += [pattern] * int(count or 1)
    if not patterns:
        raise ValueError(f"{text!r}: names no pattern: must be {GRAMMAR}")
    return tuple(patterns)


def shortest(layers: Sequence[str]) -> str:
    """The string for layers of those patterns: repeats counted, rounds after the first left out."""
    period = next(
        n
        for n in range(1, len(layers) + 1)
        if all(layer == layers[i % n] for i, layer in enumerate(layers))
    )
    runs = [(kind, len(list(run))) for kind, run in itertools.groupby(layers[:period])]
    return " ".join(kind if length == 1 else f"{kind}*{length}" for kind, length in runs)


def of_layer(patterns: tuple[Pattern, ...], layer: int) -> Pattern:
    """The pattern of a layer, counted from 0: the string's entries are cycled."""
    return patterns[layer % len(patterns)]


def allowed(
    pattern: Pattern, query_positions: Int[Tensor, "*B Q"], key_positions: Int[Tensor, "*B K"]
) -> Bool[Tensor, "*B Q K"]:
    """Which keys each query attends to, by definition; positions are absolute in the row."""
    i, j = query_positions[..., :, None], key_positions[..., None, :]
    past, length = j <= i, pattern.length
    match pattern.kind:
        case "dense":
            return past
        case "sliding":
            return past & (j > i - length)
        case "strided":
            return past & ((j > i - length) | ((i - j) % length == 0))
        case "fixed":
            own_block = j // length == i // length
            return past & (own_block | (j % length >= length - pattern.tail))
