"""Name an idiom that begins with a given character: the chain's memory, asked directly.

It gives every first character the same share of the teaching, which the chain alone does not.
Split by the character asked for.
"""

from collections.abc import Sequence
from random import Random

from jielong.core.seeds import python_random
from jielong.data import splits
from jielong.data.lexicon import Lexicon
from jielong.data.tasks import idiom_chain
from jielong.data.tasks.base import (
    RIGHT,
    Family,
    Item,
    Split,
    Verdict,
    choose_wording,
    final_answer,
    mean,
    user,
    wrong,
)
from jielong.data.tasks.idiom_chain import ChainIndex

NAME = "idiom_starting"
WORDINGS = (
    "{character}字开头的成语",
    "成语，{character}开头",
    "说一个{character}字开头的成语。",
    "什么成语以{character}开头？",
    "{character}开头有什么成语？",
    "请说一个以{character}字开头的成语。",
)
CORRUPTIONS = ("unknown", "first_character", "explains", "dead_end", "empty", "twice")


def items(lexicon: Lexicon, split: Split, seed: int) -> list[Item]:
    """One item for each character of the split that begins an idiom we teach."""
    index = ChainIndex(lexicon)
    result = []
    for character in sorted(index.by_first):
        rng = python_random(seed, NAME, character)
        taught = index.teach(character, (), rng)
        if splits.split(character) != split or taught is None:
            continue
        wording, held_out = choose_wording(WORDINGS, split, rng)
        result.append(
            Item(
                family=NAME,
                id=f"{NAME}:{character}",
                keys=(character,),
                lang="zh",
                messages=(user(wording.format(character=character)),),
                answers=index.by_first[character],
                demonstration=taught,
                held_out_wording=held_out,
                meta={"said": (character,), "index": index},
            )
        )
    return result


def check(item: Item, text: str) -> Verdict:
    """Right when it is an idiom of the list with that first character."""
    answer = final_answer(text)
    if answer in item.answers:
        return RIGHT
    known = answer in item.meta["index"].counts
    return wrong("begins with another character" if known else "not in the list of idioms")


def corrupt(item: Item, kind: str, rng: Random) -> str:
    """A wrong reply of the given kind, as in the chain."""
    return idiom_chain.corrupt(item, kind, rng)


def chance(items: Sequence[Item]) -> float:
    """The share of right answers among all idioms."""
    return mean(len(item.answers) / len(item.meta["index"].counts) for item in items)


FAMILY = Family(
    name=NAME,
    items=items,
    check=check,
    corrupt=corrupt,
    corruptions=CORRUPTIONS,
    chance=chance,
)
