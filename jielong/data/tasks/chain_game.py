"""Several rounds of 成语接龙: user and assistant take turns and nothing may be said twice."""

from random import Random

from jielong.core.seeds import python_random
from jielong.data import splits
from jielong.data.lexicon import Lexicon
from jielong.data.tasks import idiom_chain
from jielong.data.tasks.base import Family, Item, Split, assistant, choose_wording, user
from jielong.data.tasks.idiom_chain import ChainIndex, chain_item

NAME = "chain_game"
_MOST_ROUNDS = 3
_GAMES: dict[Split, int] = {"train": 1, "dev": 2, "test": 4}


def items(lexicon: Lexicon, split: Split, seed: int) -> list[Item]:
    """Games of two or three rounds from each idiom of the split; more where idioms are few."""
    index = ChainIndex(lexicon)
    found: dict[str, Item] = {}
    for word in sorted(index.counts):
        if splits.split(word) != split:
            continue
        for number in range(_GAMES[split]):
            rng = python_random(seed, NAME, word, number)
            item = _item(index, _play(index, word, split, rng), split, rng)
            if item:
                found[item.id] = item
    return list(found.values())


def _item(index: ChainIndex, said: list[str], split: Split, rng: Random) -> Item | None:
    if len(said) == 1:
        return None
    wording, held_out = choose_wording(idiom_chain.WORDINGS, split, rng)
    turns = [assistant(idiom) if i % 2 else user(idiom) for i, idiom in enumerate(said)]
    turns[0] = user(wording.format(word=said[0]))
    return chain_item(NAME, index, said, tuple(turns), rng, held_out=held_out)


def _play(index: ChainIndex, word: str, split: Split, rng: Random) -> list[str]:
    """The idioms said, the user's last; theirs are of the split, ours those that we teach."""
    said = [word]
    for _ in range(rng.randint(2, _MOST_ROUNDS) - 1):
        ours = index.teach(said[-1][-1], said, rng)
        if ours is None:
            break
        theirs = [
            idiom for idiom in index.after(ours, [*said, ours]) if splits.split(idiom) == split
        ]
        if not theirs:
            break
        said += [ours, rng.choice(theirs)]
    return said


FAMILY = Family(
    name=NAME,
    items=items,
    check=idiom_chain.check,
    corrupt=idiom_chain.corrupt,
    corruptions=idiom_chain.CORRUPTIONS,
    chance=idiom_chain.chance,
)
