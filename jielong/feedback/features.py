"""What can be seen of an answer without judging its meaning; each feature lies in [0, 1]."""

import itertools
import math
import re
from collections.abc import Mapping
from typing import NamedTuple

from jielong.core.errors import DataError

_HAN = re.compile(r"[\u3400-\u9fff]")
_UNIT = re.compile(r"[\u3400-\u9fff]|[A-Za-z0-9]+(?:'[A-Za-z]+)?")
_UNIT_OR_MARK = re.compile(r"[\u3400-\u9fff]|[A-Za-z0-9]+(?:'[A-Za-z]+)?|[^\w\s]")
_CLOSING_QUOTES = '”"』」）)'
_SENTENCE_ENDS = ("。", "！", "？", "…", ".", "!", "?")
_LENGTH_WIDTH = 0.4  # of the peak


class Answer(NamedTuple):
    """What is scored: the wishes of the prompt, the text, and whether it ended by itself."""

    constraints: Mapping[str, str]
    text: str
    finished: bool


def units(text: str) -> list[str]:
    """Each Han character, and each Latin word or number in lower case."""
    return [unit.lower() for unit in _UNIT.findall(text)]


def language(answer: Answer) -> str:
    """The language asked for, else the one that most of the text is in."""
    found = units(answer.text)
    han = sum(map(_is_han, found))
    return answer.constraints.get("language") or ("zh" if 2 * han >= len(found) else "en")


def constraints_met(answer: Answer) -> float:
    """1 when the word asked for is there (as a whole word where words have spaces), or none was."""
    for name in answer.constraints:
        if name not in ("contains", "language"):
            raise DataError(f"constraints.{name}: no such wish: known are contains, language")
    word = answer.constraints.get("contains")
    if word is None:
        return 1.0
    if _HAN.search(word):
        return float(word in answer.text)
    whole = rf"(?<![A-Za-z]){re.escape(word)}(?![A-Za-z])"
    return float(re.search(whole, answer.text, re.IGNORECASE) is not None)


def no_repetition(text: str) -> float:
    """The share of different pairs among neighbouring units and marks; 0 for an empty text."""
    found = [unit.lower() for unit in _UNIT_OR_MARK.findall(text)]
    pairs = list(itertools.pairwise(found))
    if not pairs:
        return float(bool(found))
    return len(set(pairs)) / len(pairs)


def length_fit(length: int, peak: float) -> float:
    """A bell over the length in units: 1 at the peak, exp(-1/2) at 0.4 of the peak away from it."""
    return math.exp(-0.5 * ((length - peak) / (_LENGTH_WIDTH * peak)) ** 2)


def ending(answer: Answer) -> float:
    """Half for stopping by itself, half for closing as a sentence does."""
    closed = answer.text.rstrip().rstrip(_CLOSING_QUOTES).endswith(_SENTENCE_ENDS)
    return (answer.finished + closed) / 2


def language_share(answer: Answer) -> float:
    """The share of units in the script asked for; 1 when none was asked for."""
    wanted, found = answer.constraints.get("language"), units(answer.text)
    if wanted is None or not found:
        return float(wanted is None)
    han = sum(map(_is_han, found)) / len(found)
    return han if wanted == "zh" else 1 - han


def _is_han(unit: str) -> bool:
    return _HAN.match(unit) is not None
