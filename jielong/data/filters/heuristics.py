"""Is it prose? Gopher's rules (arXiv:2112.11446, app. A.1.1), made right for Chinese as well.

They count units (`jielong.data.clean.units`) where Gopher counts words and characters, so that one
threshold serves both languages. The limits on repetition are wider than Gopher's, because statutes
and manuals repeat themselves: they were set so that about 1 % of the bytes of such texts fail.
Verse, dictionaries and dialogue are not prose: spare them this.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import inf

import numpy as np
from numpy.typing import NDArray

from jielong.core.config import check_positive
from jielong.data.clean import units
from jielong.data.documents import Block, Document, Dropped
from jielong.data.filters.scripts import Kind, count

_CHINESE_FUNCTION_WORDS = frozenset("的了是不在有这這之也而其以")
_ENGLISH_FUNCTION_WORDS = frozenset("the be to of and that have with".split())
_FUNCTION_WORDS = {
    "zh": _CHINESE_FUNCTION_WORDS,
    "en": _ENGLISH_FUNCTION_WORDS,
    "mixed": _CHINESE_FUNCTION_WORDS | _ENGLISH_FUNCTION_WORDS,
}
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no information is lost
_ELLIPSES = ("…", "...")
_HASH = "#"
_SENTENCE_ENDS = tuple("。！？；：….!?:")  # after a colon follows what it promises
_QUOTE_ENDS = tuple('”"」』')  # dialogue may stop inside its quotes without another mark
_CLOSERS = "'’)）]】》*_` " + "".join(_QUOTE_ENDS)
_CODE = re.compile(r"^[ \t]*```.*?(?:^[ \t]*```[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#{1,6} .*$", re.MULTILINE)
_BULLETS = ("-", "*", "•", "·", "●", "○", "■", "□", "▪", "◆", "◇", "▶", "►", "➢", "‣", "–")
_WRAPPED = 0.7  # a line this much as wide as the widest was cut by its editor, not by its author
_BRACKETS = ("()", "（）", "[]", "【】", "{}", "「」", "『』", "《》", "〈〉")
_ENUMERATOR = re.compile(r"(?:^|(?<=[\s，。；：、,.;:]))[0-9A-Za-z一二三四五六七八九十]{1,3}[)）]")
_SMALLEST_TOP_NGRAM = 2
_SMALLEST_REPEATED_NGRAM = 5


@dataclass(frozen=True, kw_only=True)
class HeuristicsConfig:
    """The thresholds: what lies beyond one is dropped. Shares lie between 0 and 1."""

    min_units: int = 30
    min_letters: float = 0.6  # of the visible characters
    min_han: float = 0.5  # of the units of a Chinese text
    min_word_letters: float = 3.0  # on average, where most units are Latin words
    max_word_letters: float = 10.0
    max_symbols: float = 0.1  # hash signs, ellipses, stars, arrows and their like for each unit
    min_sentence_ends: float = 0.3  # of the lines at which a paragraph or a sentence may end
    max_bullets: float = 0.9  # of the lines, unless they are sentences
    max_ellipses: float = 0.3  # of the lines
    min_function_words: int = 2
    max_repeated_lines: float = 0.45  # of the lines
    max_repeated_paragraphs: float = 0.45  # of the paragraphs
    max_top_ngrams: tuple[float, ...] = (0.20, 0.22, 0.24)  # of the units; n = 2, 3, 4
    max_repeated_ngrams: tuple[float, ...] = (0.60, 0.56, 0.53, 0.50, 0.48, 0.46)  # n = 5 ... 10
    max_unmatched_brackets: float = 0.02  # for each unit
    max_private_use: int = 0  # characters that only one font can show

    def __post_init__(self) -> None:
        check_positive(self, "min_units")
        limits = self.max_repeated_ngrams
        if any(before < after for before, after in pairwise(limits)):
            raise ValueError(f"max_repeated_ngrams: {list(limits)}: must not rise with n")


def block(config: HeuristicsConfig) -> Block:
    """The step that drops what is no prose."""
    return partial(_check, config=config)


def _check(document: Document, config: HeuristicsConfig) -> Document | Dropped:
    fault = next(faults(document.text, document.lang, config), None)
    if fault is None:
        return document
    rule, detail = fault
    return Dropped(document=document, rule=f"heuristics.{rule}", detail=detail)


def faults(text: str, lang: str, config: HeuristicsConfig) -> Iterator[tuple[str, str]]:
    """Each rule that `text` breaks, with the value that decided; found as they are asked for.

    Markdown's fenced code and headings are no prose and are not held against it.
    """
    prose = _HEADING.sub("", _CODE.sub("", text)) if "```" in text or "#" in text else text
    found = units(prose.lower())
    if len(found) < config.min_units:
        total = len(found) if prose is text else len(units(text))
        yield from _outside("too_short", total, low=config.min_units)
        return  # too little to judge, or nothing but code
    yield from _character_faults(prose, lang, len(found), config)
    yield from _line_faults(prose, config)
    if lang in _FUNCTION_WORDS:
        known = _FUNCTION_WORDS[lang].intersection(found)
        yield from _outside("function_words", len(known), low=config.min_function_words)
    yield from _repetition_faults(found, config)


def _outside(
    rule: str, value: float, *, low: float = -inf, high: float = inf
) -> Iterator[tuple[str, str]]:
    shown = f"{value}" if isinstance(value, int) else f"{value:.3f}"
    if value < low:
        yield rule, f"{shown} < {low:g}"
    elif value > high:
        yield rule, f"{shown} > {high:g}"


def _character_faults(
    text: str, lang: str, size: int, config: HeuristicsConfig
) -> Iterator[tuple[str, str]]:
    """The rules on what the text is written with; `size` is its number of units."""
    characters = count(text)
    counts, words = characters.counts, characters.runs[Kind.LATIN]
    yield from _outside("private_use", counts[Kind.PRIVATE_USE], high=config.max_private_use)
    yield from _outside("letters", characters.letters / characters.visible, low=config.min_letters)
    if lang == "zh":
        yield from _outside("han", counts[Kind.HAN] / size, low=config.min_han)
    if words > size / 2:
        length = counts[Kind.LATIN] / words
        limits = {"low": config.min_word_letters, "high": config.max_word_letters}
        yield from _outside("word_letters", length, **limits)
    symbols = counts[Kind.SYMBOL] + sum(map(text.count, (*_ELLIPSES, _HASH)))
    yield from _outside("symbols", symbols / size, high=config.max_symbols)
    unmatched = _unmatched_brackets(text)
    if unmatched > config.max_unmatched_brackets * size:
        unmatched -= len(_ENUMERATOR.findall(text))  # 1) is no lost bracket
        yield from _outside("brackets", unmatched / size, high=config.max_unmatched_brackets)


def _unmatched_brackets(text: str) -> int:
    return sum(abs(text.count(opening) - text.count(closing)) for opening, closing in _BRACKETS)


def _line_faults(text: str, config: HeuristicsConfig) -> Iterator[tuple[str, str]]:
    lines = [line.strip() for line in text.split("\n")]
    full = [line for line in lines if line]
    items = sum(_is_item(line) and not _ends_sentence(line) for line in full)
    yield from _outside("bullets", items / len(full), high=config.max_bullets)
    ends = _paragraph_ends(lines)
    ended = sum(map(_ends_sentence, ends)) / len(ends) if ends else 1.0
    yield from _outside("sentence_ends", ended, low=config.min_sentence_ends)
    ellipses = sum(line.endswith(_ELLIPSES) for line in full)
    yield from _outside("ellipses", ellipses / len(full), high=config.max_ellipses)
    yield from _outside("repeated_lines", _repeated(full), high=config.max_repeated_lines)
    paragraphs = [part.strip() for part in text.split("\n\n") if part and not part.isspace()]
    share = _repeated(paragraphs)
    yield from _outside("repeated_paragraphs", share, high=config.max_repeated_paragraphs)


def _is_item(line: str) -> bool:
    return line.startswith(_BULLETS)


def _paragraph_ends(lines: Sequence[str]) -> list[str]:
    """The lines that stop by themselves, but for those of a list.

    A line that fills the page and has another right below was only cut.
    """
    wide = _WRAPPED * max(map(len, lines))
    return [
        line
        for line, below in pairwise([*lines, ""])
        if line and not (below and len(line) >= wide) and not _is_item(line)
    ]


def _ends_sentence(line: str) -> bool:
    return line.endswith(_QUOTE_ENDS) or line.rstrip(_CLOSERS).endswith(_SENTENCE_ENDS)


def _repeated(parts: Sequence[str]) -> float:
    """The share of parts that were there before."""
    return 1 - len(set(parts)) / len(parts)


def _repetition_faults(found: Sequence[str], config: HeuristicsConfig) -> Iterator[tuple[str, str]]:
    ids = _number(found)
    for n, limit in enumerate(config.max_top_ngrams, start=_SMALLEST_TOP_NGRAM):
        share = n * _most_frequent(_ngrams(ids, n)) / len(found)
        yield from _outside(f"top_{n}_gram", share, high=limit)
    for n, limit in enumerate(config.max_repeated_ngrams, start=_SMALLEST_REPEATED_NGRAM):
        share = _repeated_share(ids, n)
        yield from _outside(f"repeated_{n}_grams", share, high=limit)
        if share <= config.max_repeated_ngrams[-1]:
            return  # longer repeats lie within shorter ones, and the last limit is the lowest


def _number(found: Sequence[str]) -> NDArray[np.uint64]:
    """Each unit as a number: equal units, and only they, have equal numbers."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(unit, len(numbers)) for unit in found], dtype=np.uint64)


def _ngrams(ids: NDArray[np.uint64], n: int) -> NDArray[np.uint64]:
    """A 64-bit hash for every `n` units in a row."""
    size = max(len(ids) - n + 1, 0)
    total = np.zeros(size, dtype=np.uint64)
    for offset in range(n):
        total = total * _MULTIPLIER + ids[offset : offset + size]
    return total


def _most_frequent(ngrams: NDArray[np.uint64]) -> int:
    """How often the most frequent one occurs; 0 if none occurs twice."""
    ordered = np.sort(ngrams)
    starts = np.flatnonzero(np.diff(ordered, prepend=ordered[:1] + np.uint64(1)))
    most = int(np.diff(starts, append=len(ordered)).max(initial=0))
    return most if most > 1 else 0


def _repeated_share(ids: NDArray[np.uint64], n: int) -> float:
    """The share of units that stand in an n-gram that was there before."""
    ngrams = _ngrams(ids, n)
    order = np.argsort(ngrams, kind="stable")
    is_repeat = np.diff(ngrams[order]) == 0
    later = order[1:][is_repeat]
    covered = np.zeros(len(ids), dtype=bool)
    covered[(later[:, None] + np.arange(n)).ravel()] = True
    return float(covered.mean())
