"""Say which kind of thing a word names. A word in several classes has several right answers."""

from collections import defaultdict
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
    mean,
    spread,
    user,
    wrong,
)

NAME = "category"
WORDINGS = (
    "{word}是哪一类？",
    "分类：{word}",
    "{word}属于哪一类？",
    "{word}是什么类别的词？",
    "给{word}分类。",
    "请问{word}是哪一类词？",
)
CORRUPTIONS = ("other_class", "no_class", "several", "word", "empty")
LIMITS: dict[Split, int] = {"train": 4_000, "dev": 50, "test": 100}
"""Words a class, so that the large classes (places, people) do not drown the small ones."""
_LENGTHS = range(2, 9)


def items(lexicon: Lexicon, split: Split, seed: int) -> list[Item]:
    """Up to the same number of words from each class."""
    classes = sorted({label for labels in lexicon.categories.values() for label in labels})
    by_class = defaultdict(list)
    for word, labels in lexicon.categories.items():
        if len(word) in _LENGTHS and splits.split(word) == split:
            for label in labels:
                by_class[label].append(word)
    words = {w for label in classes for w in spread(by_class[label], LIMITS[split], NAME)}
    result = []
    for word in sorted(words):
        rng = python_random(seed, NAME, word)
        wording, held_out = choose_wording(WORDINGS, split, rng)
        labels = tuple(sorted(lexicon.categories[word]))
        result.append(
            Item(
                family=NAME,
                id=f"{NAME}:{word}",
                keys=(word,),
                lang="zh",
                messages=(user(wording.format(word=word)),),
                answers=labels,
                demonstration=labels[0],
                held_out_wording=held_out,
                meta={"word": word, "classes": tuple(classes)},
            )
        )
    return result


def check(item: Item, text: str) -> Verdict:
    """Right when the answer is one of the word's classes, also as 「X是…」 or 「…类」."""
    answer = final_answer(text)
    bare = answer.removeprefix(item.meta["word"]).lstrip("是属于").removesuffix("类")
    if answer in item.answers or bare in item.answers:
        return RIGHT
    return wrong("another class" if bare in item.meta["classes"] else "no class")


def corrupt(item: Item, kind: str, rng: Random) -> str:
    """A wrong reply of the given kind."""
    others = [label for label in item.meta["classes"] if label not in item.answers]
    match kind:
        case "other_class":
            return rng.choice(others)
        case "no_class":
            return rng.choice(("东西", "名词", "很多", "不知道"))
        case "several":
            return f"{item.answers[0]}或{rng.choice(others)}"
        case "word":
            word = item.meta["word"]
            return word if word not in item.answers else "不知道"
        case "empty":
            return rng.choice(("", "。", " "))
    raise ValueError(f"{kind}: no such corruption: choose one of {', '.join(CORRUPTIONS)}")


def chance(items: Sequence[Item]) -> float:
    """A guess among all classes."""
    return mean(len(item.answers) / len(item.meta["classes"]) for item in items)


FAMILY = Family(
    name=NAME,
    items=items,
    check=check,
    corrupt=corrupt,
    corruptions=CORRUPTIONS,
    chance=chance,
)
