"""Text made from a seed, and the same text damaged: what duplicates are planted with."""

from functools import cache
from random import Random

LETTERS = "etaoinshrdlucmfwypvbgkjqxz"


def zipf(random: Random, size: int) -> int:
    """A number below `size`, the smaller the more frequent, as with words and characters."""
    return int(size ** random.random()) - 1


def random_text(random: Random, lang: str, characters: int) -> str:
    """Sentences of at least so many characters: Han characters, or words made of syllables."""
    parts: list[str] = []
    size = 0
    while size < characters:
        if lang == "zh":
            part = (
                "".join(chr(0x4E00 + 7 * zipf(random, 2900)) for _ in range(4)) + "，。"[size % 2]
            )
        else:
            part = word(zipf(random, 20_000)) + (" ", " ", " ", ". ")[size % 4]
        parts.append(part)
        size += len(part)
    return "".join(parts)[:characters]


@cache
def word(number: int) -> str:
    """The word of this rank: the more frequent, the shorter."""
    letters = Random(number)
    return "".join(LETTERS[zipf(letters, 26)] for _ in range(2 + number.bit_length() // 2))


def edited(random: Random, text: str, share: float) -> str:
    """`text` with this share of its characters substituted, deleted or followed by a new one."""
    alphabet = sorted(set(text))
    characters = list(text)
    for place in random.sample(range(len(text)), round(share * len(text))):
        new = random.choice(alphabet)
        characters[place] = random.choice([new, "", characters[place] + new])
    return "".join(characters)
