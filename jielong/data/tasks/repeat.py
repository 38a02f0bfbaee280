"""Say a word after the user: the plainest copying, on which recall and sentences stand."""

from collections.abc import Sequence
from random import Random

from jielong.core.seeds import python_random
from jielong.data import splits
from jielong.data.lexicon import Lexicon
from jielong.data.tasks.base import (
    RIGHT,
    Family,
    Item,
    Split,
    Verdict,
    choose_wording,
    final_answer,
    is_han,
    normalise,
    spread,
    user,
    wrong,
)

NAME = "repeat"
WORDINGS = {
    "zh": (
        "跟我说：{word}",
        "请重复：{word}",
        "跟着我说{word}。",
        "说“{word}”。",
        "重复一遍：{word}",
        "请跟我说一遍：{word}",
    ),
    "en": (
        "Say {word}.",
        "Repeat after me: {word}",
        "Please say {word}.",
        "Repeat: {word}",
        "Say the word {word}.",
        "Please repeat the word {word}.",
    ),
}
CORRUPTIONS = ("cut", "altered", "reversed", "empty")
LIMITS: dict[Split, int] = {"train": 6_000, "dev": 150, "test": 300}
_LONGEST_ZH = 6


def items(lexicon: Lexicon, split: Split, seed: int) -> list[Item]:
    """Words of the categories and idioms in Chinese, common words in English."""
    zh = [*lexicon.idioms, *lexicon.categories, *lexicon.words_zh]
    zh = [word for word in zh if 2 <= len(word) <= _LONGEST_ZH and is_han(word)]
    result = []
    for lang, words in (("zh", zh), ("en", lexicon.words_en)):
        mine = [word for word in words if splits.split(word) == split and len(set(word)) > 1]
        for word in spread(mine, LIMITS[split], NAME):
            rng = python_random(seed, NAME, lang, word)
            wording, held_out = choose_wording(WORDINGS[lang], split, rng)
            result.append(
                Item(
                    family=NAME,
                    id=f"{NAME}:{lang}:{word}",
                    keys=(word,),
                    lang=lang,
                    messages=(user(wording.format(word=word)),),
                    answers=(word,),
                    demonstration=word,
                    held_out_wording=held_out,
                    meta={"words": len(mine)},
                )
            )
    return result


def check(item: Item, text: str) -> Verdict:
    """Right when it is the word, alone or at the end of a lead-in."""
    right = normalise(item.answers[0])
    return RIGHT if final_answer(text) == right else wrong("another word")


def corrupt(item: Item, kind: str, rng: Random) -> str:
    """A wrong reply of the given kind."""
    word = item.answers[0]
    match kind:
        case "cut":
            return word[:-1]
        case "altered":
            place = rng.randrange(len(word))
            new = rng.choice("天地人山水" if item.lang == "zh" else "aeiou")
            return word[:place] + (new if new != word[place] else new * 2) + word[place + 1 :]
        case "reversed":
            return word[::-1] if word[::-1] != word else word * 2
        case "empty":
            return rng.choice(("", "。", " "))
    raise ValueError(f"{kind}: no such corruption: choose one of {', '.join(CORRUPTIONS)}")


def chance(items: Sequence[Item]) -> float:
    """A guess among the words."""
    return sum(1 / item.meta["words"] for item in items) / max(1, len(items))


FAMILY = Family(
    name=NAME,
    items=items,
    check=check,
    corrupt=corrupt,
    corruptions=CORRUPTIONS,
    chance=chance,
)
