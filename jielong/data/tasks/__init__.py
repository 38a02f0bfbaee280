"""Task families with ground truth: one file a family, all of them in `FAMILIES`."""

from jielong.data.tasks import (
    category,
    chain_game,
    dialogue,
    idiom_chain,
    idiom_starting,
    last_character,
    recall,
    repeat,
    sentence,
)
from jielong.data.tasks.base import Family, Item, Split, Verdict

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        idiom_chain.FAMILY,
        chain_game.FAMILY,
        idiom_starting.FAMILY,
        last_character.FAMILY,
        category.FAMILY,
        recall.FAMILY,
        repeat.FAMILY,
        dialogue.GREETING,
        dialogue.SMALL_TALK,
        sentence.FAMILY,
    )
}

__all__ = ["FAMILIES", "Family", "Item", "Split", "Verdict"]
