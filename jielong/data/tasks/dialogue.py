"""Greetings, identity and small talk, from the dialogues we wrote (`data/dialogues/*.toml`).

An intent is asked in several ways and has one short answer. Its last two phrasings are kept for the
test, the one before them for development. A talk of several turns serves training alone.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.resources import files
from random import Random
from typing import Any

from jielong.core.seeds import python_random
from jielong.data.lexicon import Lexicon
from jielong.data.tasks.base import (
    CLOSING,
    RIGHT,
    Family,
    Item,
    Message,
    Split,
    Verdict,
    assistant,
    mean,
    normalise,
    user,
    wrong,
)

LANGUAGES = ("zh", "en")
CORRUPTIONS = ("other_intent", "runs_on", "empty")
_TEST, _DEV = 2, 1
_DEMONSTRATIONS_PER_PHRASING = 4
_CONTEXTS: dict[Split, int] = {"train": 2, "dev": 1, "test": 2}
_DECORATED = 8  # further spellings of each training phrasing
_OPENERS = {
    "zh": (
        "嗯，",
        "那，",
        "那就",
        "哦，",
        "好，",
        "嘿，",
        "接龙，",
        "你好，",
        "请问，",
        "大家",
        "真的",
    ),
    "en": ("Well, ", "Oh, ", "Hey, ", "OK, ", "Jielong, ", "So, ", "Hi, ", "Hello, ", "Now, "),
}
_CLOSERS = {
    "zh": ("呀", "啊", "吧", "哦", "啦", "，接龙", "，朋友", "，明天见", "，好吗"),
    "en": (
        ", Jielong",
        " to you",
        " now",
        " for now",
        ", my friend",
        ", please",
        " again",
        " then",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Intent:
    """What a user may want to say, the ways to say it, and the answer with its marks."""

    name: str
    lang: str
    family: str
    questions: tuple[str, ...]
    answers: tuple[str, ...]
    accept: tuple[str, ...]

    def of(self, split: Split) -> tuple[str, ...]:
        """The phrasings that belong to the split."""
        held_out = _TEST + _DEV
        match split:
            case "test":
                return self.questions[-_TEST:]
            case "dev":
                return self.questions[-held_out:-_TEST]
        return self.questions[:-held_out]


@cache
def intents(lang: str) -> tuple[Intent, ...]:
    """All intents of a language, in the file's order."""
    return tuple(
        Intent(
            name=entry["name"],
            lang=lang,
            family=entry["family"],
            questions=tuple(entry["questions"]),
            answers=tuple(entry["answers"]),
            accept=tuple(entry["accept"]),
        )
        for entry in _read(lang)["intent"]
    )


@cache
def talks(lang: str) -> tuple[tuple[Message, ...], ...]:
    """All talks of several turns, the user first."""
    return tuple(
        tuple((user, assistant)[i % 2](turn) for i, turn in enumerate(entry["turns"]))
        for entry in _read(lang)["talk"]
    )


def _read(lang: str) -> dict[str, list[dict[str, Any]]]:
    path = files("jielong.data") / "dialogues" / f"{lang}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


def items(name: str, lexicon: Lexicon, split: Split, seed: int) -> list[Item]:
    """Each phrasing alone and after another exchange; for training also among polite words.

    With six ways to ask a thing a small model learns those six by heart; words before and after
    them that mean nothing teach it which ones do.
    """
    del lexicon  # these are our own words
    result = []
    for lang in LANGUAGES:
        mine = [intent for intent in intents(lang) if intent.family == name]
        for intent in mine:
            for question in intent.of(split):
                for context in range(_CONTEXTS[split] + _DECORATED * (split == "train")):
                    rng = python_random(seed, name, lang, intent.name, question, context)
                    result.append(_item(name, intent, question, context, split, rng))
    return result


def _item(
    name: str, intent: Intent, question: str, context: int, split: Split, rng: Random
) -> Item:
    before: list[Message] = []
    asked = question
    if split == "train":
        asked = _spelling(question, rng)
        if context >= _CONTEXTS["train"]:
            asked = _decorated(question, intent.lang, rng)
    if context % 2:
        other = rng.choice([i for i in intents(intent.lang) if i.name != intent.name])
        before = [user(rng.choice(other.of("train"))), assistant(rng.choice(other.answers))]
    return Item(
        family=name,
        id=f"{name}:{intent.lang}:{intent.name}:{question}:{context}",
        keys=(f"{intent.lang}:{question}",),
        lang=intent.lang,
        messages=(*before, user(asked)),
        answers=intent.answers,
        demonstration=rng.choice(intent.answers),
        held_out_wording=split != "train",
        meta={"intent": intent},
    )


def _decorated(question: str, lang: str, rng: Random) -> str:
    """The question among words that change nothing; never a phrasing that is held out."""
    bare, mark = question.rstrip(CLOSING), question[len(question.rstrip(CLOSING)) :]
    while True:
        opener = rng.choice(_OPENERS[lang]) if rng.random() < 0.6 else ""
        closer = rng.choice(_CLOSERS[lang]) if rng.random() < 0.6 else ""
        found = f"{opener}{bare}{closer}{mark}"
        if (opener or closer) and _plain(found) not in _held_out(lang):
            return found


@cache
def _held_out(lang: str) -> frozenset[str]:
    """Every phrasing of the language that training must not show."""
    kept = (*(i.of("dev") for i in intents(lang)), *(i.of("test") for i in intents(lang)))
    return frozenset(_plain(question) for questions in kept for question in questions)


def _plain(question: str) -> str:
    """What is left when marks, case and width make no difference."""
    return normalise(question).rstrip(CLOSING).lower()


def _spelling(question: str, rng: Random) -> str:
    """As people type: sometimes without the closing mark or the capital."""
    if rng.random() < 0.3:
        question = question.rstrip("。！？.!?")
    if rng.random() < 0.2:
        question = question[:1].lower() + question[1:]
    return question


def check(item: Item, text: str) -> Verdict:
    """Right when it carries one of the intent's marks and is no longer than an answer would be."""
    intent: Intent = item.meta["intent"]
    answer = normalise(text)
    if not any(mark in answer for mark in map(normalise, intent.accept)):
        return wrong("lacks what the answer must say")
    if len(answer) > 2 * max(map(len, intent.answers)) + 4:
        return wrong("runs on")
    question = normalise(item.messages[-1]["content"])
    if answer == question and answer.rstrip(CLOSING) not in map(normalise, intent.accept):
        return wrong("repeats the question")
    return RIGHT


def corrupt(item: Item, kind: str, rng: Random) -> str:
    """A wrong reply of the given kind."""
    intent: Intent = item.meta["intent"]
    match kind:
        case "other_intent":
            answers = [a for i in intents(intent.lang) for a in i.answers]
            return rng.choice([a for a in answers if not check(item, a).score])
        case "runs_on":
            return max(intent.answers, key=len) * 4
        case "empty":
            return rng.choice(("", "。", " "))
    raise ValueError(f"{kind}: no such corruption: choose one of {', '.join(CORRUPTIONS)}")


def chance(items: Sequence[Item]) -> float:
    """One of the answers of all intents of the language, taken blindly."""
    return mean(
        mean(check(item, a).score for i in intents(item.lang) for a in i.answers[:1])
        for item in items
    )


def _family(name: str) -> Family:
    return Family(
        name=name,
        items=partial(items, name),
        check=check,
        corrupt=corrupt,
        corruptions=CORRUPTIONS,
        chance=chance,
    )


GREETING = _family("greeting")
SMALL_TALK = _family("small_talk")
