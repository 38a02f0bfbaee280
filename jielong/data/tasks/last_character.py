"""Say the last character of a word: what the chain needs, asked on its own."""

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
    mean,
    spread,
    user,
    wrong,
)

NAME = "last_character"
WORDINGS = (
    "{word}最后一个字",
    "{word}的最后一个字是什么？",
    "最后一个字：{word}",
    "“{word}”最后一个字是？",
    "{word}的末字是什么？",
    "请说出{word}的最后一个字。",
)
CORRUPTIONS = ("other_character", "first_character", "whole_word", "explains", "empty")
LIMITS: dict[Split, int] = {"train": 20_000, "dev": 400, "test": 800}
_LENGTHS = range(2, 7)


def items(lexicon: Lexicon, split: Split, seed: int) -> list[Item]:
    """Idioms and words of two to six characters; as many as training can show."""
    words = [*lexicon.idioms, *lexicon.categories, *lexicon.words_zh]
    mine = [w for w in words if len(w) in _LENGTHS and is_han(w) and splits.split(w) == split]
    result = []
    for word in spread(mine, LIMITS[split], NAME):
        rng = python_random(seed, NAME, word)
        wording, held_out = choose_wording(WORDINGS, split, rng)
        result.append(
            Item(
                family=NAME,
                id=f"{NAME}:{word}",
                keys=(word,),
                lang="zh",
                messages=(user(wording.format(word=word)),),
                answers=(word[-1],),
                demonstration=word[-1],
                held_out_wording=held_out,
                meta={"word": word},
            )
        )
    return result


def check(item: Item, text: str) -> Verdict:
    """Right when the answer is that character alone, or the character with 字 after it."""
    answer = final_answer(text)
    if len(answer) > 1:
        answer = answer.removeprefix("是").removesuffix("字")
    return RIGHT if answer == item.answers[0] else wrong("another character")


def corrupt(item: Item, kind: str, rng: Random) -> str:
    """A wrong reply of the given kind."""
    word, right = item.meta["word"], item.answers[0]
    match kind:
        case "other_character":
            others = [c for c in word if c != right] or ["一" if right != "一" else "人"]
            return rng.choice(others)
        case "first_character":
            return word[0] if word[0] != right else word[0] * 2
        case "whole_word":
            return word
        case "explains":
            return f"{word}是一个常用的词"
        case "empty":
            return rng.choice(("", "。", " "))
    raise ValueError(f"{kind}: no such corruption: choose one of {', '.join(CORRUPTIONS)}")


def chance(items: Sequence[Item]) -> float:
    """A guess among the characters of the word."""
    return mean(item.meta["word"].count(item.answers[0]) / len(item.meta["word"]) for item in items)


FAMILY = Family(
    name=NAME,
    items=items,
    check=check,
    corrupt=corrupt,
    corruptions=CORRUPTIONS,
    chance=chance,
)
