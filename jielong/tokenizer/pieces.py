"""How text is cut before merging: no token ever spans two pieces.

A piece is of one kind: Han characters, a word of one other script, digits, punctuation or symbols,
white space. So no token mixes scripts, numbers are cut alike wherever they stand, and the blanks
and line ends of code survive as they are. The pieces of a text, joined, are the text.
"""

from typing import Literal

from jielong.core.errors import DataError

Han = Literal["characters", "words"]
Digits = Literal[1, 2, 3]

# The long vowel mark ー belongs to no script in the tables of Unicode: it is cut with the kana
# before it.
_SCRIPTS = (
    r"\p{Latin}",
    r"\p{Hiragana}",
    r"\p{Katakana}",
    r"\p{Hangul}",
    r"\p{Cyrillic}",
    r"\p{Greek}",
    r"\p{Arabic}",
    r"\p{Hebrew}",
    r"\p{Devanagari}",
    r"\p{Thai}",
)


def pattern(han: Han = "characters", digits: Digits = 2) -> str:
    """The regular expression whose matches are the pieces.

    `han`: each character a piece of its own, or each run, in which merging may then find words;
    `digits`: at most so many to a piece. Written in what the engines of `tokenizers` and `tiktoken`
    have in common.
    """
    # A combining mark stays with the letter or the symbol before it.
    words = [rf"{script}[{script}\p{{M}}{_also(script)}]*" for script in _SCRIPTS]
    words.append(rf"[\p{{L}}\p{{M}}&&[^\p{{Han}}{''.join(_SCRIPTS)}]]+")  # scripts not named here
    return "|".join(
        [
            r"\p{Han}+" if han == "words" else r"\p{Han}",
            r"'(?i:[sdmt]|ll|ve|re)",  # English contractions
            rf" ?(?:{'|'.join(words)})",  # a word, with the space before it
            rf"\p{{N}}{{1,{digits}}}",
            r" ?[^\s\p{L}\p{M}\p{N}][^\s\p{L}\p{N}]*",  # punctuation and symbols
            r"\s*[\r\n]+|\s+(?!\S)|\s+",  # line ends, then other white space
        ]
    )


def refuse_surrogates(text: str) -> None:
    """Raise `DataError` where `text` holds half a character, which no bytes can stand for."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DataError(
            "the text holds a lone surrogate, which is no character: remove it"
        ) from None


def _also(script: str) -> str:
    return "ー" if script in {r"\p{Hiragana}", r"\p{Katakana}"} else ""
