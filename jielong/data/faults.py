"""Spoilt answers for ranking: what a policy drifts into unless the reward model has seen it fail.

A reward model that never saw a loop, a sentence in the wrong language or a fine sentence about
something else has no reason to mark them down, and reinforcement finds that out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from jielong.data.clean import units

KINDS = ("loop", "doubled", "cut", "other_language", "off_topic", "bare")
_FOREIGN = {
    "zh": ("I do not know.", "This is a good day.", "He went to the school.", "We like it here."),
    "en": ("我不知道。", "今天天气很好。", "他去学校了。", "我们喜欢这里。"),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """A spoilt answer: what is wrong, the text, and whether it ends by itself."""

    kind: str
    text: str
    finished: bool


def faults(rng: Random, text: str, lang: str, others: Sequence[str] = ()) -> list[Fault]:
    """One spoilt answer of each kind made from `text`.

    `others` are real sentences of the language, for a fluent answer to another question; without
    them that kind is left out. `cut` is left out where there is nothing to cut.
    """
    space, stop = ("", "。") if lang == "zh" else (" ", ".")
    words = units(text) or [stop]
    start = rng.randrange(len(words))
    piece = space.join(words[start : start + rng.randint(1, 3)])
    loop = space.join([*words[:start], *[piece] * rng.randint(4, 10)])
    foreign = rng.choice(_FOREIGN.get(lang, _FOREIGN["zh"]))
    found = [
        Fault("loop", loop, finished=False),
        Fault("doubled", space.join([text] * rng.randint(2, 3)), finished=True),
        Fault("other_language", foreign, finished=True),
        Fault("bare", rng.choice(("", stop, words[0] + stop)), finished=True),
    ]
    if len(text) > 3:
        end = rng.randrange(len(text) // 3, len(text) - 1)
        found.append(Fault("cut", text[:end].rstrip(), finished=False))
    if unlike := [other for other in others if other != text]:
        found.append(Fault("off_topic", rng.choice(unlike), finished=True))
    return found
