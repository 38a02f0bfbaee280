"""Questions without answers, for ranking and reinforcement: write a sentence with a given word.

A dev or test prompt asks for a word that training never asks for, in a wording that training never
uses; the word may still occur in sentences that were learned. `group` is the asked word, so every
wording of one question falls on the same side.
"""

from dataclasses import dataclass
from typing import Any

from jielong.core.seeds import derive
from jielong.data import splits
from jielong.data.lexicon import Lexicon
from jielong.data.tasks import sentence
from jielong.data.tasks.base import Message, Split, user

HELD_OUT = {
    "zh": (sentence.WORDINGS["zh"][-1], "“{word}”怎么造句？", "说一句含有“{word}”的话。"),
    "en": (
        sentence.WORDINGS["en"][-1],
        "Write one sentence that has the word {word}.",
        "I need a sentence with {word}.",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One question; `constraints` are the wishes that a scorer can check."""

    id: str
    messages: tuple[Message, ...]
    lang: str
    group: str
    constraints: dict[str, str]
    example: str

    def record(self) -> dict[str, Any]:
        """The fields of a `prompt` record."""
        return {
            "id": self.id,
            "messages": self.messages,
            "lang": self.lang,
            "source": "sentence",
            "group": self.group,
            "constraints": self.constraints,
        }


def sentence_prompts(lexicon: Lexicon, split: Split, seed: int) -> list[Prompt]:
    """Every word of the split in every wording of the split, in a fixed shuffled order.

    `example` is a real sentence with the word, which may stand among the answers to be ranked.
    """
    result = []
    for lang, wordings in sentence.WORDINGS.items():
        asked = wordings[:-1] if split == "train" else HELD_OUT[lang]
        for word, texts in sentence.sentences_by_word(lexicon, lang).items():
            if splits.split(word) != split:
                continue
            for number, wording in enumerate(asked):
                result.append(
                    Prompt(
                        id=f"{lang}:{word}:{split}:{number}",
                        messages=(user(wording.format(word=word)),),
                        lang=lang,
                        group=word,
                        constraints={"contains": word, "language": lang},
                        example=texts[0],
                    )
                )
    return sorted(result, key=lambda prompt: derive(seed, "sentence_prompts", prompt.id))
