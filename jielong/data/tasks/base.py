"""What a task family is: items with known right answers, a checker, and ways of being wrong.

One interface serves teaching (the demonstration), evaluation and verifiable rewards (`check`), and
the proof of the checkers (`corrupt`). Everything is a pure function of (lexicon, split, seed).

Checkers forgive form and never content: width, case, spaces, a closing mark, a quoted span or a
lead-in before the answer make no difference.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from jielong.core.seeds import derive
from jielong.data.lexicon import Lexicon

Split = Literal["train", "dev", "test"]
Message = dict[str, str]

CLOSING = "。.！!？?；;，,、…~～"
_QUOTED = re.compile('「([^「」]+)」|“([^“”]+)”|"([^"]+)"|『([^『』]+)』')
_SPACE_BY_HAN = re.compile(r"(?<=[\u3400-\u9fff])\s+|\s+(?=[\u3400-\u9fff])")
_HAN = re.compile(r"[\u3400-\u9fff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One question: the talk up to the user's last turn, every right answer, and the one we teach.

    `keys` are all headwords the item touches; it belongs to a split only because all of them do.
    `meta` holds what the checker and the corruptions need to look up. `held_out_wording`: asked in
    the wording that training never shows.
    """

    family: str
    id: str
    keys: tuple[str, ...]
    lang: str
    messages: tuple[Message, ...]
    answers: tuple[str, ...]
    demonstration: str
    held_out_wording: bool = False
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """1.0 for a right answer, 0.0 for a wrong one, and why."""

    score: float
    reason: str


RIGHT = Verdict(1.0, "right")


def wrong(reason: str) -> Verdict:
    """A refusal with its reason."""
    return Verdict(0.0, reason)


@dataclass(frozen=True, kw_only=True)
class Family:
    """A family of tasks; `corruptions` names every kind of wrong answer that `corrupt` can make."""

    name: str
    items: Callable[[Lexicon, Split, int], list[Item]]
    check: Callable[[Item, str], Verdict]
    corrupt: Callable[[Item, str, Random], str]
    corruptions: tuple[str, ...]
    chance: Callable[[Sequence[Item]], float]


def user(content: str) -> Message:
    """A turn of the user."""
    return {"role": "user", "content": content}


def assistant(content: str) -> Message:
    """A turn of the assistant."""
    return {"role": "assistant", "content": content}


def normalise(text: str) -> str:
    """The form in which answers are compared: one width, one case, no spaces beside Han."""
    folded = unicodedata.normalize("NFKC", text).casefold().strip()
    return _SPACE_BY_HAN.sub("", " ".join(folded.split()))


def is_han(text: str) -> bool:
    """Whether every character is a Han character (and there is one)."""
    return bool(text) and len(_HAN.findall(text)) == len(text)


def final_answer(text: str) -> str:
    """The answer inside a reply: its last line, there the last quoted span, without a lead-in."""
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return ""
    last = lines[-1]
    spans = [next(filter(None, groups)) for groups in _QUOTED.findall(last)]
    answer = spans[-1] if spans else re.split("[：:]", last)[-1]
    return normalise(answer).rstrip(CLOSING).strip()


def choose_wording(wordings: Sequence[str], split: Split, rng: Random) -> tuple[str, bool]:
    """A wording, and whether it is the held-out one: the last, which half of the test items use."""
    if split == "test" and rng.random() < 0.5:
        return wordings[-1], True
    return rng.choice(wordings[:-1]), False


def spread(keys: Iterable[str], limit: int | None, *names: str | int) -> list[str]:
    """At most `limit` of the keys in an order that depends on nothing but the keys and `names`."""
    ordered = sorted(set(keys), key=lambda key: (derive(0, *names, key), key))
    return ordered[:limit]


def mean(values: Iterable[float]) -> float:
    """The arithmetic mean; 0 of nothing."""
    numbers = list(values)
    return sum(numbers) / len(numbers) if numbers else 0.0
