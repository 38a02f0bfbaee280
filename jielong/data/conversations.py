"""Conversations to learn from: a mixture of task families, and conversations of the user's own.

The mixture is a pure function of (seed, index): any conversation can be made again without those
before it, so a run resumes where it stopped and the order of workers changes nothing. Several short
exchanges share one conversation, which teaches turns and costs fewer special tokens.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jielong.core import json_lines
from jielong.core.errors import ConfigError, DataError
from jielong.core.seeds import python_random
from jielong.data.lexicon import Lexicon
from jielong.data.tasks import FAMILIES, Item, Split, dialogue
from jielong.data.tasks.base import Message, assistant

TALKS = "talks"
"""The written talks of several turns, as one more family of the mixture; they have no test."""

_MORE = 0.6  # probability that one more exchange follows
_MOST_PARTS = 4
_FULL = 60  # characters after which no exchange is added


@dataclass(frozen=True)
class Conversation:
    """The turns, the user first, and the families they come from.

    `place` is the file and line of one that was read.
    """

    messages: tuple[Message, ...]
    families: tuple[str, ...]
    place: str = ""


def solved(item: Item) -> tuple[Message, ...]:
    """The item's talk with the answer that we teach."""
    return (*item.messages, assistant(item.demonstration))


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """Solved items by family, drawn with the given weights."""

    pools: dict[str, list[tuple[Message, ...]]]
    weights: dict[str, float]
    seed: int
    parts: int = _MOST_PARTS

    def conversation(self, index: int) -> Conversation:
        """The conversation with this number."""
        rng = python_random(self.seed, "mixture", index)
        names, weights = list(self.weights), list(self.weights.values())
        messages: list[Message] = []
        families = []
        while not families or (self._has_room(messages, families) and rng.random() < _MORE):
            families.append(rng.choices(names, weights)[0])
            messages += rng.choice(self.pools[families[-1]])
        return Conversation(tuple(messages), tuple(families))

    def _has_room(self, messages: list[Message], families: list[str]) -> bool:
        """Whether one more exchange fits: what is told must not be cut off before it is asked."""
        said = sum(len(message["content"]) for message in messages)
        return len(families) < self.parts and said < _FULL

    def talks(self) -> Iterator[Conversation]:
        """Each of the solved items alone."""
        for name, pool in self.pools.items():
            for messages in pool:
                yield Conversation(messages, (name,))

    def __iter__(self) -> Iterator[Conversation]:
        """Every conversation, without end."""
        return map(self.conversation, itertools.count())


def mixture(
    lexicon: Lexicon,
    split: Split,
    weights: Mapping[str, float],
    seed: int,
    parts: int = _MOST_PARTS,
) -> Mixture:
    """The mixture of the families named in `weights` (shares of exchanges, of any scale)."""
    pools = {}
    for name, weight in weights.items():
        if name not in FAMILIES and name != TALKS:
            known = ", ".join([*FAMILIES, TALKS])
            raise ConfigError(f"families.{name}: no such task family: choose among {known}")
        if weight < 0:
            raise ConfigError(f"families.{name}: {weight} is negative: give 0 or more")
        if weight == 0:
            continue
        pools[name] = _pool(name, lexicon, split, seed)
        if not pools[name]:
            raise DataError(f"{name}: the lexicon gives it no {split} item: set its weight to 0")
    if not pools:
        raise ConfigError("families: empty: give at least one task family a positive weight")
    kept = {name: float(weights[name]) for name in pools}
    return Mixture(pools=pools, weights=kept, seed=seed, parts=parts)


def _pool(name: str, lexicon: Lexicon, split: Split, seed: int) -> list[tuple[Message, ...]]:
    if name == TALKS:
        return [talk for lang in dialogue.LANGUAGES for talk in dialogue.talks(lang)]
    return [solved(item) for item in FAMILIES[name].items(lexicon, split, seed)]


def read_jsonl(path: Path) -> list[Conversation]:
    """The user's own conversations, one a line.

    A line is {"messages": [...]} or {"prompt": "...", "completion": "..."}.
    """
    lines = json_lines.read(path)
    found = [Conversation(_messages(value, where), (path.stem,), where) for where, value in lines]
    if not found:
        raise DataError(f"{path}: empty: write one conversation a line")
    return found


def _messages(record: Any, where: str) -> tuple[Message, ...]:  # noqa: ANN401 - what JSON gave
    if not isinstance(record, dict):
        raise DataError(f"{where}: {type(record).__name__}: expected an object with messages")
    if set(record) == {"prompt", "completion"}:
        turns = [
            {"role": "user", "content": record["prompt"]},
            {"role": "assistant", "content": record["completion"]},
        ]
    elif set(record) == {"messages"}:
        turns = record["messages"]
    else:
        fields = ", ".join(sorted(record)) or "nothing"
        raise DataError(f"{where}: has {fields}: give messages, or prompt and completion")
    return _checked(turns, where)


def _checked(turns: Any, where: str) -> tuple[Message, ...]:  # noqa: ANN401 - what JSON gave
    if not isinstance(turns, list) or not turns:
        raise DataError(f"{where}: messages: expected a list with at least one message")
    for i, turn in enumerate(turns):
        if not isinstance(turn, dict) or set(turn) != {"role", "content"}:
            raise DataError(
                f"{where}: messages[{i}]: expected an object with role and content only"
            )
        if not isinstance(turn["content"], str) or not turn["content"].strip():
            raise DataError(f"{where}: messages[{i}].content: expected text that is not empty")
    start = 1 if turns[0]["role"] == "system" else 0
    for i, turn in enumerate(turns[start:]):
        expected = ("user", "assistant")[i % 2]
        if turn["role"] != expected:
            place = f"{where}: messages[{start + i}].role"
            raise DataError(
                f"{place}: {turn['role']!r} where {expected!r} is due: let turns alternate"
            )
    if turns[-1]["role"] != "assistant":
        raise DataError(f"{where}: ends with {turns[-1]['role']!r}: end with an assistant message")
    return tuple(turns)
