"""Placeholder until the branch `sparse` is merged."""

import re
from dataclasses import dataclass
from typing import Literal

from torch import Tensor


@dataclass(frozen=True)
class Pattern:
    kind: Literal["dense", "sliding", "strided", "fixed"]
    length: int = 0
    tail: int = 0


def parse(text: str) -> tuple[Pattern, ...]:
    found = []
    for entry in text.split():
        m = re.fullmatch(r"(dense|sliding|strided|fixed)(?::(\d+))?(?::(\d+))?(?:\*(\d+))?", entry)
        if not m:
            raise ValueError(f"{entry!r}: no pattern")
        found += [Pattern(m[1], int(m[2] or 0), int(m[3] or 0))] * int(m[4] or 1)
    if not found:
        raise ValueError("'': no pattern")
    return tuple(found)


def of_layer(patterns, layer: int) -> Pattern:
    return patterns[layer % len(patterns)]


def allowed(p: Pattern, queries: Tensor, keys: Tensor) -> Tensor:
    i, j = queries[..., :, None], keys[..., None, :]
    before, l = j <= i, p.length
    if p.kind == "sliding":
        return before & (j > i - l)
    if p.kind == "strided":
        return before & ((j > i - l) | ((i - j) % l == 0))
    if p.kind == "fixed":
        return before & ((j // l == i // l) | (j % l >= l - p.tail))
    return before
