"""成语接龙: answer an idiom with another that begins with its last character.

Right is any idiom of the lexicon with that first character that was not said yet. What is taught is
mostly one idiom a character, the best known: a small model remembers one good answer far better
than it spreads its memory over all of them, and a fair share of others keeps it able to vary.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from random import Random

from jielong.core.seeds import python_random
from jielong.data import splits
from jielong.data.lexicon import Lexicon
from jielong.data.tasks.base import (
    RIGHT,
    Family,
    Item,
    Message,
    Split,
    Verdict,
    choose_wording,
    final_answer,
    mean,
    user,
    wrong,
)

WORDINGS = (
    "{word}",
    "接龙：{word}",
    "成语接龙：{word}",
    "我说{word}",
    "请接：{word}",
    "我出{word}，你接。",
    "来接龙，我出：{word}",
)
CORRUPTIONS = ("unknown", "first_character", "used", "explains", "dead_end", "empty", "twice")
_BEST = 0.85
_CHOICES = 3


class ChainIndex:
    """The idioms by first character, best known first; one is built for each call of `items`."""

    def __init__(self, lexicon: Lexicon) -> None:
        self.counts = {idiom: entry["count"] or 0 for idiom, entry in lexicon.idioms.items()}
        by_first = defaultdict(list)
        for idiom in sorted(self.counts, key=lambda idiom: (-self.counts[idiom], idiom)):
            by_first[idiom[0]].append(idiom)
        self.by_first = {first: tuple(idioms) for first, idioms in by_first.items()}
        self.taught = {
            first: tuple(idiom for idiom in idioms if splits.split(idiom) == "train")
            for first, idioms in self.by_first.items()
        }

    def after(self, idiom: str, used: Collection[str]) -> tuple[str, ...]:
        """Every idiom that may follow, those already said left out."""
        followers = self.by_first.get(idiom[-1], ())
        return tuple(follower for follower in followers if follower not in used)

    def teach(self, character: str, used: Collection[str], rng: Random) -> str | None:
        """The idiom to teach after `character`: mostly the best known, else one of the next two."""
        ranked = [idiom for idiom in self.taught.get(character, ()) if idiom not in used][:_CHOICES]
        if not ranked:
            return None
        if len(ranked) == 1 or rng.random() < _BEST:
            return ranked[0]
        return rng.choice(ranked[1:])


def items(lexicon: Lexicon, split: Split, seed: int) -> list[Item]:
    """One item for each idiom of the split whose last character begins some idiom."""
    index = ChainIndex(lexicon)
    result = []
    for word in sorted(index.counts):
        if splits.split(word) != split:
            continue
        rng = python_random(seed, "idiom_chain", word)
        wording, held_out = choose_wording(WORDINGS, split, rng)
        messages = (user(wording.format(word=word)),)
        item = chain_item("idiom_chain", index, (word,), messages, rng, held_out=held_out)
        result += [item] if item else []
    return result


def chain_item(
    family: str,
    index: ChainIndex,
    said: Sequence[str],
    messages: tuple[Message, ...],
    rng: Random,
    *,
    held_out: bool,
) -> Item | None:
    """What follows the last idiom said, as an item; None where nothing right can be said or taught.

    Outside training an idiom that no taught one follows is still a fair question.
    """
    answers = index.after(said[-1], said)
    taught = index.teach(said[-1][-1], said, rng)
    in_training = splits.split(said[-1]) == "train"
    if not answers or (in_training and taught is None):
        return None
    return Item(
        family=family,
        id=f"{family}:{'-'.join(said)}",
        keys=(*said, taught) if in_training and taught else tuple(said[::2]),
        lang="zh",
        messages=messages,
        answers=answers,
        demonstration=taught or answers[0],
        held_out_wording=held_out,
        meta={"said": tuple(said), "index": index, "count": index.counts[said[-1]]},
    )


def check(item: Item, text: str) -> Verdict:
    """Right when it is an idiom of the list, fits, and was not said before."""
    answer = final_answer(text)
    if answer in item.answers:
        return RIGHT
    if answer in item.meta["said"]:
        return wrong("already said")
    if answer not in item.meta["index"].counts:
        return wrong("not in the list of idioms")
    return wrong("does not begin with the last character")


def first_character_ok(item: Item, text: str) -> bool:
    """Whether the reply at least begins with the right character, idiom or not."""
    return final_answer(text)[:1] == item.meta["said"][-1][-1]


def corrupt(item: Item, kind: str, rng: Random) -> str:
    """A wrong reply of the given kind."""
    index: ChainIndex = item.meta["index"]
    said = item.meta["said"]
    right = rng.choice(item.answers)
    match kind:
        case "unknown":
            return _unknown(index, right, rng)
        case "first_character":
            others = [first for first in index.by_first if first != right[0]]
            return rng.choice(index.by_first[rng.choice(others)])
        case "used":
            return rng.choice(said)
        case "explains":
            return f"「{said[-1]}」的意思很深，常用来形容人或事。"
        case "dead_end":
            return "我接不上来了，你赢了。"
        case "empty":
            return rng.choice(("", "。", " "))
        case "twice":
            return right * 2
    raise ValueError(f"{kind}: no such corruption: choose one of {', '.join(CORRUPTIONS)}")


def _unknown(index: ChainIndex, idiom: str, rng: Random) -> str:
    """Begins well and is no idiom: the way a model that half remembers goes wrong."""
    tails = sorted(index.counts)
    while True:
        candidate = idiom[:2] + rng.choice(tails)[2:]
        if candidate not in index.counts:
            return candidate


def chance(items: Sequence[Item]) -> float:
    """The share of right answers among all idioms: a guesser who knows the list, not the rule."""
    return mean(len(item.answers) / len(item.meta["index"].counts) for item in items)


FAMILY = Family(
    name="idiom_chain",
    items=items,
    check=check,
    corrupt=corrupt,
    corruptions=CORRUPTIONS,
    chance=chance,
)
