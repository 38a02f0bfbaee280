"""Text that nobody would want to learn from, made out of good text: the classifier's other side.

Each kind stands for what a crawl brings: sentences in disorder, page markup, menus and lists,
scans badly read, and the same phrase over and over.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from random import Random

from jielong.core.seeds import python_random
from jielong.data.clean import is_han
from jielong.data.documents import Document

_TOKEN = re.compile(r"[A-Za-z\u00c0-\u024f0-9]+|\S")
_WORD = re.compile(r"([A-Za-z\u00c0-\u024f0-9]+|[^\W\d_])")
_SHUFFLED_REACH = 12  # words: near enough that the topic of a passage stays
_MISREAD = {
    "l": "1",
    "o": "0",
    "e": "c",
    "h": "b",
    "n": "ri",
    "m": "rn",
    "i": "l",
    "c": "e",
    "s": "5",
}
_MISREAD_SHARE = 0.15
_NEIGHBOURS = 8  # Unicode sorts by radical and strokes: the next characters look alike
_TAGS = ("div", "span", "li", "td", "a", "p", "ul", "table")
_WORDS_OF_MARKUP = ("item", "nav", "left", "btn", "main-box", "clearfix", "col-3", "footer", "hot")
_BULLETS = ("- ", "* ", "• ", "| ", "> ", "» ", "{}. ", "[{}] ", "")
_REPEATED_TOKENS = (2, 12)  # how long the phrase is
"""Bounds are inclusive."""


def shuffle(text: str, random: Random) -> str:
    """Words and characters out of order; punctuation, spaces and lines stay where they were."""
    parts = _WORD.split(text)
    words = parts[1::2]
    keys = [(place + random.uniform(0, _SHUFFLED_REACH), place) for place in range(len(words))]
    parts[1::2] = [words[place] for _, place in sorted(keys)]
    return "".join(parts)


def add_markup(text: str, random: Random) -> str:
    """The text as it stands in a page's source, with half of its tags lost."""
    made = []
    for piece in _pieces(text, random, 2, 10):
        tag, name = random.choice(_TAGS), random.choice(_WORDS_OF_MARKUP)
        number = random.randrange(1000)
        made.append(
            random.choice(
                (
                    f'<{tag} class="{name}">{piece}</{tag}>',
                    f'<{tag} id="{name}{number}" style="width:{number}px">{piece}',
                    f'<a href="/{name}/{number}.html">{piece}</a>&nbsp;',
                    f"{piece}</{tag}></{tag}>",
                    f"$('#{name}').show({number});{piece}",
                )
            )
        )
    return "\n".join(made)


def make_list(text: str, random: Random) -> str:
    """Fragments one below the other, as in a menu."""
    bullet = random.choice(_BULLETS)
    pieces = _pieces(text, random, 1, 4)
    return "\n".join(bullet.format(number) + piece for number, piece in enumerate(pieces, start=1))


def misread(text: str, random: Random) -> str:
    """The text as a bad scan gives it back: letters mistaken, words broken and run together."""
    made = []
    for character in text:
        if random.random() >= _MISREAD_SHARE:
            made.append(character)
        elif is_han(character):
            made.append(chr(ord(character) + random.randint(1, _NEIGHBOURS)))
        elif character.lower() in _MISREAD:
            made.append(_MISREAD[character.lower()])
        else:
            made.append(random.choice(("", character + " ", "'", "~")))
    return "".join(made)


def repeat(text: str, random: Random) -> str:
    """A few phrases of the text again and again, to about its length."""
    pieces = _pieces(text, random, *_REPEATED_TOKENS)
    phrases = random.sample(pieces, min(len(pieces), random.randint(1, 3)))
    made: list[str] = []
    size = 0
    while size < len(text):
        made.append(random.choice(phrases))
        size += len(made[-1]) + 1
    return random.choice((" ", "\n", "")).join(made)


KINDS: dict[str, Callable[[str, Random], str]] = {
    "shuffled": shuffle,
    "markup": add_markup,
    "list": make_list,
    "misread": misread,
    "repeated": repeat,
}


def generate(documents: Iterable[Document], seed: int) -> list[Document]:
    """One damaged copy of each document, of a kind drawn by its id."""
    made = []
    for document in documents:
        random = python_random(seed, "damage", document.id)
        kind = random.choice(sorted(KINDS))
        text = KINDS[kind](document.text, random)
        made.append(replace(document, key=f"{document.key}#{kind}", text=text))
    return made


def _pieces(text: str, random: Random, fewest: int, most: int) -> list[str]:
    """The text cut into pieces of so many words or characters."""
    starts = [found.start() for found in _TOKEN.finditer(text)]
    cuts = [0]
    place = random.randint(fewest, most)
    while place < len(starts):
        cuts.append(starts[place])
        place += random.randint(fewest, most)
    ends = [*cuts[1:], len(text)]
    pieces = (" ".join(text[start:end].split()) for start, end in zip(cuts, ends, strict=True))
    return [piece for piece in pieces if piece] or [text]
