"""Write a sentence with a given word; what is taught is a real sentence that has it.

A sentence that says the word early is preferred as demonstration: to a small model the word is then
something to begin with, not something to remember on the way.
"""

import itertools
import re
from collections import defaultdict
from collections.abc import Sequence
from random import Random

from jielong.core.seeds import derive, python_random
from jielong.data import splits
from jielong.data.lexicon import Lexicon
from jielong.data.tasks.base import (
    RIGHT,
    Family,
    Item,
    Split,
    Verdict,
    choose_wording,
    is_han,
    mean,
    normalise,
    user,
    wrong,
)

NAME = "sentence"
WORDINGS = {
    "zh": (
        "用“{word}”造句。",
        "用“{word}”写一句话。",
        "造句：{word}",
        "写一句带“{word}”的话。",
        "请用“{word}”造一个句子。",
        "写一个有“{word}”的句子。",
    ),
    "en": (
        "Write a sentence with the word {word}.",
        "Write a sentence with {word}.",
        "Use the word {word} in a sentence.",
        "Make a sentence with {word}.",
        "A sentence with the word {word}:",
        "Please write one sentence with the word {word}.",
    ),
}
CORRUPTIONS = (
    "word_missing",
    "other_language",
    "unfinished",
    "echo",
    "loop",
    "word_alone",
    "empty",
)
_PER_WORD = 6
_EVERYDAY = ("hsk",)
_LENGTHS_ZH = range(2, 5)
_LONG_EN = 5  # letters: an English word this long is worth asking for, common or not
_LEAST_UNITS = 4
_BESIDE_WORD = 2
_WORD_EN = re.compile(r"(?<![\w'-])[a-z]+(?![\w'-])")
_UNIT = re.compile(r"[\u3400-\u9fff]|[A-Za-z0-9']+")
_OTHER = {
    "zh": ("I do not know what to say about that.", "This is a sentence in English."),
    "en": ("我不知道怎么说才好。", "这是一个中文的句子。"),
}


def contains(text: str, word: str, lang: str) -> bool:
    """Whether the word is there; an English word as a whole word, whatever its case."""
    if lang == "en":
        return re.search(rf"(?<![A-Za-z]){re.escape(word)}(?![A-Za-z])", text, re.I) is not None
    return word in text


def everyday(lexicon: Lexicon, lang: str) -> list[str]:
    """The sentences people say today; all of the language where the lexicon has none of those."""
    mine = [s for s in lexicon.sentences if s["lang"] == lang]
    plain = [s for s in mine if s["source"] in _EVERYDAY]
    return list(dict.fromkeys(s["text"] for s in plain or mine))


def sentences_by_word(lexicon: Lexicon, lang: str) -> dict[str, list[str]]:
    """word -> the everyday sentences that have it, those that say it early first."""
    wanted = {word for word in (*lexicon.words_zh, *lexicon.translations) if _is_word(word)}
    lengths = sorted({len(word) for word in wanted})
    common = set(lexicon.words_en)
    found = defaultdict(list)
    for text in everyday(lexicon, lang):
        if lang == "en":
            words = set(_WORD_EN.findall(text.lower()))
            has = {w for w in words if w in common or len(w) >= _LONG_EN}
        else:
            spans = (text[i : i + n] for n in lengths for i in range(len(text) - n + 1))
            has = wanted.intersection(spans)
        for word in has:
            if well_formed(text, word, lang).score:
                found[word].append(text)
    for word, texts in found.items():
        texts.sort(key=lambda text: (_place(text, word), derive(0, text)))
    return dict(sorted(found.items()))


def items(lexicon: Lexicon, split: Split, seed: int) -> list[Item]:
    """For training several sentences a word, those that say it early; else one question a word."""
    result = []
    for lang in WORDINGS:
        number = len(everyday(lexicon, lang))
        for word, texts in sentences_by_word(lexicon, lang).items():
            if splits.split(word) != split:
                continue
            for i, text in enumerate(texts[: _PER_WORD if split == "train" else 1]):
                rng = python_random(seed, NAME, lang, word, i)
                wording, held_out = choose_wording(WORDINGS[lang], split, rng)
                result.append(
                    Item(
                        family=NAME,
                        id=f"{NAME}:{lang}:{word}:{i}",
                        keys=(word,),
                        lang=lang,
                        messages=(user(wording.format(word=word)),),
                        answers=(text,),
                        demonstration=text,
                        held_out_wording=held_out,
                        meta={"word": word, "share": len(texts) / number},
                    )
                )
    return result


def _is_word(word: str) -> bool:
    return len(word) in _LENGTHS_ZH and is_han(word)


def _place(text: str, word: str) -> int:
    """How late the word comes, in thirds of the sentence."""
    return 3 * text.lower().find(word) // max(1, len(text))


def well_formed(text: str, word: str, lang: str) -> Verdict:
    """Whether the text is one finished sentence of the language with the word in it."""
    text = text.strip()
    units = _UNIT.findall(text)
    if not contains(text, word, lang):
        return wrong("the word is missing")
    if len(units) < max(_LEAST_UNITS, len(_UNIT.findall(word)) + _BESIDE_WORD):
        return wrong("no sentence, only a word or two")
    if not text.endswith(("。", "！", "？", "…", "”") if lang == "zh" else (".", "!", "?", '"')):
        return wrong("does not end as a sentence does")
    han = sum(unit >= "\u3400" for unit in units)
    if (han > len(units) / 2) != (lang == "zh"):
        return wrong("another language")
    pairs = list(itertools.pairwise(units))
    if len(set(pairs)) <= len(pairs) / 2:
        return wrong("goes round in circles")
    return RIGHT


def check(item: Item, text: str) -> Verdict:
    """Right when it is a finished sentence with the word, and not the question again."""
    question, answer = normalise(item.messages[-1]["content"]), normalise(text)
    word = normalise(item.meta["word"])
    if answer and answer.replace(word, "") == question.replace(word, ""):
        return wrong("repeats the question")
    return well_formed(text, item.meta["word"], item.lang)


def corrupt(item: Item, kind: str, rng: Random) -> str:
    """A wrong reply of the given kind."""
    text, word = item.demonstration, item.meta["word"]
    match kind:
        case "word_missing":
            return re.sub(re.escape(word), "", text, flags=re.I)
        case "other_language":
            return f"{word} {rng.choice(_OTHER[item.lang])}"
        case "unfinished":
            return text[: max(1, len(text) // 2)].rstrip('。！？…”.!?"，, ')
        case "echo":
            return item.messages[-1]["content"]
        case "loop":
            stop, space = ("。", "") if item.lang == "zh" else (".", " ")
            return space.join([word] * 8) + stop
        case "word_alone":
            return word + ("。" if item.lang == "zh" else ".")
        case "empty":
            return rng.choice(("", "。", " "))
    raise ValueError(f"{kind}: no such corruption: choose one of {', '.join(CORRUPTIONS)}")


def chance(items: Sequence[Item]) -> float:
    """A real sentence taken blindly."""
    return mean(item.meta["share"] for item in items)


FAMILY = Family(
    name=NAME,
    items=items,
    check=check,
    corrupt=corrupt,
    corruptions=CORRUPTIONS,
    chance=chance,
)
