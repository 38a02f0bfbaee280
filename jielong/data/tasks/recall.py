"""Remember over turns: the user says a name, a city, a number, something liked, and later asks.

Nothing can be looked up or guessed, so a right answer shows that the model reads the conversation.
Values are split like headwords: those of the test were never said in training.
"""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib.resources import files
from random import Random
from typing import Any

from jielong.core.seeds import python_random
from jielong.data import splits
from jielong.data.lexicon import Lexicon
from jielong.data.tasks import dialogue
from jielong.data.tasks.base import (
    CLOSING,
    RIGHT,
    Family,
    Item,
    Message,
    Split,
    Verdict,
    assistant,
    choose_wording,
    mean,
    normalise,
    user,
    wrong,
)

NAME = "recall"
CORRUPTIONS = ("other_value", "part", "forgot", "several", "empty")
SIZES: dict[Split, int] = {"train": 12_000, "dev": 200, "test": 500}
_NAMES = 3_000
_ENOUGH = 30
_FILLER, _SECOND_FACT = 0.25, 0.25
_LEADS = {
    "zh": ("", "叫", "是", "在", "吃", "欢"),
    "en": ("", "is", "in", "like", "called", "named", "are", "eat", "was"),
}
_ROOM = {"zh": 4, "en": 12}  # characters that a right answer may add to ours


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One thing to tell: how it is told, acknowledged, asked for and answered, and its values."""

    name: str
    lang: str
    tells: tuple[str, ...]
    replies: tuple[str, ...]
    asks: tuple[str, ...]
    answer: str
    values: tuple[str, ...]


@cache
def kinds() -> tuple[Kind, ...]:
    """Everything that can be told, from `data/dialogues/recall.toml`."""
    text = (files("jielong.data") / "dialogues" / "recall.toml").read_text(encoding="utf-8")
    return tuple(
        Kind(
            name=entry["name"],
            lang=entry["lang"],
            tells=tuple(entry["tells"]),
            replies=tuple(entry["replies"]),
            asks=tuple(entry["asks"]),
            answer=entry["answer"],
            values=_values(entry),
        )
        for entry in tomllib.loads(text)["kind"]
    )


@cache
def _choices() -> dict[tuple[str, str], int]:
    return {(kind.lang, kind.name): len(kind.values) for kind in kinds()}


def _values(entry: dict[str, Any]) -> tuple[str, ...]:
    if "surnames" in entry:
        return _chinese_names(entry["surnames"], entry["given"])
    if "from" in entry:
        return tuple(map(str, range(entry["from"], entry["to"] + 1)))
    return tuple(entry["values"])


def _chinese_names(surnames: str, given: str) -> tuple[str, ...]:
    rng = python_random(0, NAME, "names")
    names: dict[str, None] = {}
    while len(names) < _NAMES:
        # Two thirds of Chinese names have two characters after the surname.
        rest = rng.choice(given) + (rng.choice(given) if rng.random() < 2 / 3 else "")
        names[rng.choice(surnames) + rest] = None
    return tuple(names)


def items(lexicon: Lexicon, split: Split, seed: int) -> list[Item]:
    """A fixed number of short talks, more of them with a name, which matters most in a chat."""
    del lexicon  # values and words are our own
    mine = [kind for kind in map(partial(_within, split), kinds()) if kind.values]
    # A kind with few values in this split would ask the same thing again and again.
    weights = [min(len(kind.values), _ENOUGH) * (3 if kind.name == "name" else 1) for kind in mine]
    result = []
    for i in range(SIZES[split]):
        rng = python_random(seed, NAME, split, i)
        kind = rng.choices(mine, weights)[0]
        result.append(_item(kind, mine, split, i, rng))
    return result


def _within(split: Split, kind: Kind) -> Kind:
    """The same kind with the values on that side of the wall."""
    return replace(kind, values=tuple(v for v in kind.values if splits.split(v) == split))


def _item(kind: Kind, known: Sequence[Kind], split: Split, number: int, rng: Random) -> Item:
    value = rng.choice(kind.values)
    keys, told = [value], [_fact(kind, value, rng)]
    roll = rng.random()
    others = [k for k in known if k.lang == kind.lang and k.name != kind.name]
    if roll < _SECOND_FACT and others:
        other = rng.choice(others)
        keys.append(rng.choice(other.values))
        told.insert(rng.randrange(2), _fact(other, keys[-1], rng))
    elif roll < _SECOND_FACT + _FILLER:
        intent = rng.choice(dialogue.intents(kind.lang))
        told.append((user(rng.choice(intent.of("train"))), assistant(rng.choice(intent.answers))))
    ask, held_out = choose_wording(kind.asks, split, rng)
    answer = kind.answer.format(v=value)
    return Item(
        family=NAME,
        id=f"{NAME}:{split}:{number}",
        keys=tuple(keys),
        lang=kind.lang,
        messages=(*(message for fact in told for message in fact), user(ask)),
        answers=(answer, value),
        demonstration=answer,
        held_out_wording=held_out,
        meta={"kind": kind, "value": value, "choices": _choices()[kind.lang, kind.name]},
    )


def _fact(kind: Kind, value: str, rng: Random) -> tuple[Message, Message]:
    tell, reply = rng.choice(kind.tells), rng.choice(kind.replies)
    return user(tell.format(v=value)), assistant(reply.format(v=value))


def check(item: Item, text: str) -> Verdict:
    """Right when the reply ends with the value, alone or after words that lead up to it."""
    answer = normalise(text).rstrip(CLOSING).strip()
    answer = re.sub(r"[「」“”\"『』]", "", answer)
    value = normalise(item.meta["value"])
    if not answer.endswith(value):
        return wrong("does not end with what was told")
    lead = answer[: -len(value)]
    last = lead.split(" ")[-2] if item.lang == "en" and lead.endswith(" ") else lead[-1:]
    if last not in _LEADS[item.lang]:
        return wrong("another value")
    if len(answer) > len(item.demonstration) + _ROOM[item.lang]:
        return wrong("runs on")
    return RIGHT


def corrupt(item: Item, kind: str, rng: Random) -> str:
    """A wrong reply of the given kind."""
    value, told = item.meta["value"], item.meta["kind"]
    others = [v for v in told.values if v != value] or ["？？"]
    other = rng.choice(others)
    match kind:
        case "other_value":
            return told.answer.format(v=other)
        case "part":
            return told.answer.format(v=value[:-1])
        case "forgot":
            return "我不知道。" if item.lang == "zh" else "I do not know."
        case "several":
            comma = "，" if item.lang == "zh" else ", "
            return told.answer.format(v=f"{other}{comma}{value}")
        case "empty":
            return rng.choice(("", "。", " "))
    raise ValueError(f"{kind}: no such corruption: choose one of {', '.join(CORRUPTIONS)}")


def chance(items: Sequence[Item]) -> float:
    """A guess among all values of the kind asked for, whatever their split."""
    return mean(1 / item.meta["choices"] for item in items)


FAMILY = Family(
    name=NAME,
    items=items,
    check=check,
    corrupt=corrupt,
    corruptions=CORRUPTIONS,
    chance=chance,
)
