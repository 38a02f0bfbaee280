"""Whatever a configuration holds, its file gives it back."""

import math
import tomllib
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from jielong.core import config

text = st.text(st.characters(exclude_categories=["Cs"]))


@dataclass(frozen=True, kw_only=True)
class Leaf:
    number: int
    share: float
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class Root:
    name: str
    flag: bool
    leaf: Leaf
    words: tuple[str, ...] = ()
    rates: tuple[float, ...] = ()
    weights: dict[str, float] = field(default_factory=dict)
    leaves: dict[str, Leaf] = field(default_factory=dict)


numbers = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(allow_nan=False)
leaves = st.builds(Leaf, number=numbers, share=floats, note=st.none() | text)
roots = st.builds(
    Root,
    name=text,
    flag=st.booleans(),
    leaf=leaves,
    words=st.lists(text, max_size=3).map(tuple),
    rates=st.lists(floats, max_size=3).map(tuple),
    weights=st.dictionaries(text, floats, max_size=3),
    leaves=st.dictionaries(text, leaves, max_size=3),
)


@given(roots)
def test_dumps_round_trips(root: Root) -> None:
    assert config.parse(Root, tomllib.loads(config.dumps(root))) == root


def test_not_a_number_round_trips() -> None:
    text = config.dumps(Leaf(number=0, share=math.nan))
    assert math.isnan(config.parse(Leaf, tomllib.loads(text)).share)
