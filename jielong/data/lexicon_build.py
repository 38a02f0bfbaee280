"""How the lexicon is made from the sources: what counts as an idiom, a sentence, a common word."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator

from jielong.data.clean import is_han, normalise
from jielong.data.extract import cedict, sanguo, stdlib, thuocl
from jielong.data.extract.corpus import Corpus
from jielong.data.lexicon import Idiom, Lexicon, Sentence
from jielong.data.stop_words import CHINESE, ENGLISH

_ZH_LENGTH = range(6, 25)  # characters, punctuation included
_EN_LENGTH = range(4, 17)  # words
_SEEN_IN = 3  # sentences that a common word occurs in at least
_SHORTEST_EN = 3  # letters
_LONGEST = 4  # characters of a word that segmentation looks for
_GLOSS_LENGTH = 30  # characters
_GLOSSES = 4
_ZH_SENTENCE = re.compile(r"[\u4e00-\u9fff，、；：]+[。！？]")
_EN_TOKEN = r"(?:[a-z]+|[A-Z][a-z]*|[A-Z]{2,4}|[0-9]+)(?:['-][a-z]+)*"
_EN_SENTENCE = re.compile(rf"[A-Z][a-z]*(?:['-][a-z]+)*(?:[,;:]? {_EN_TOKEN})+[.!?]")
_EN_WORD = re.compile(r"[A-Za-z]+(?:'[a-z]+)?")


def build(
    corpus: Corpus, held_out: str = "", is_leaked: Callable[[str], bool] | None = None
) -> Lexicon:
    """The lexicon of whichever sources the corpus has.

    A sentence that stands in the `held_out` text, or of which `is_leaked` says that it stands in an
    exam, is left out: what measures the model must not come back as a demonstration.
    """
    sentences = [s for s in _sentences(corpus) if s["text"] not in held_out]
    if is_leaked is not None:
        sentences = [s for s in sentences if not is_leaked(s["text"])]
    words_zh = _common_zh(sentences, corpus)
    wanted = {word for pair in corpus.pairs for word in pair.words} | set(words_zh)
    return Lexicon(
        idioms=_idioms(corpus),
        categories=_categories(corpus),
        sentences=sentences,
        words_zh=words_zh,
        words_en=_common_en(sentences, corpus),
        translations=_translations(corpus.entries, wanted),
    )


def _idioms(corpus: Corpus) -> dict[str, Idiom]:
    """THUOCL's idioms of four characters, the commonest first, then the dictionary's own."""
    marked = {entry.word for entry in corpus.entries if entry.is_idiom}
    elsewhere = {
        word for name, words in corpus.fields.items() if name != thuocl.IDIOMS for word in words
    }
    # What another field lists too is a term (同轴电缆, coaxial cable), unless marked an idiom.
    listed = [
        word
        for word in corpus.fields.get(thuocl.IDIOMS, [])
        if len(word) == 4 and (word in marked or word not in elsewhere)
    ]
    found: dict[str, Idiom] = {
        word: {"count": len(listed) - rank, "pinyin": None, "gloss": None}
        for rank, word in enumerate(listed)
    }
    for entry in corpus.entries:
        if entry.is_idiom or entry.word in found:
            idiom = found.setdefault(entry.word, {"count": 0, "pinyin": None, "gloss": None})
            idiom["pinyin"] = idiom["pinyin"] or entry.pinyin
            idiom["gloss"] = idiom["gloss"] or entry.short_gloss
    return found


def _categories(corpus: Corpus) -> dict[str, list[str]]:
    """Each word's classes. A name that the dictionary has only as an ordinary word is none."""
    names = {entry.word for entry in corpus.entries if entry.is_name}
    ordinary = {entry.word for entry in corpus.entries} - names
    found: dict[str, list[str]] = {}
    for label, words in corpus.fields.items():
        for word in words:
            if label not in thuocl.NAMES or word not in ordinary:
                found.setdefault(word, []).append(label)
    return {word: sorted(labels) for word, labels in found.items()}


def _sentences(corpus: Corpus) -> list[Sentence]:
    """Clean short sentences, each once, those made to be examples first."""
    told = [
        *(("zh", "hsk", pair.zh) for pair in corpus.pairs),
        *(("en", "hsk", pair.en) for pair in corpus.pairs),
        *(("zh", "sanguo", text) for text in _narrative(corpus.chapters)),
        *(("en", "stdlib", text) for text in stdlib.summaries(corpus.modules)),
    ]
    found: dict[str, Sentence] = {}
    for lang, source, raw in told:
        text = normalise(raw)
        if _is_clean(text, lang):
            found.setdefault(text, Sentence(text=text, lang=lang, source=source))
    return list(found.values())


def _narrative(chapters: Iterable[sanguo.Chapter]) -> Iterator[str]:
    """The novel's sentences outside of speech: what is quoted, or introduces a quotation, goes."""
    for _title, *paragraphs in chapters:
        for paragraph in paragraphs:
            told = re.sub("“[^”]*”", "”", paragraph)
            yield from (piece for piece in re.split("(?<=[。！？”])", told) if "”" not in piece)


def _is_clean(text: str, lang: str) -> bool:
    if lang == "zh":
        return len(text) in _ZH_LENGTH and bool(_ZH_SENTENCE.fullmatch(text))
    return len(text.split()) in _EN_LENGTH and bool(_EN_SENTENCE.fullmatch(text))


def _common_zh(sentences: list[Sentence], corpus: Corpus) -> list[str]:
    """Words of two characters, the commonest first."""
    segmented = {normalise(pair.zh): pair.words for pair in corpus.pairs}
    known = {word for pair in corpus.pairs for word in pair.words}
    known |= {entry.word for entry in corpus.entries if not entry.is_name}
    known |= {w for name, words in corpus.fields.items() if name != thuocl.PLACES for w in words}
    counts: Counter[str] = Counter()
    for sentence in sentences:
        if sentence["lang"] == "zh":
            text = sentence["text"]
            words = segmented[text] if text in segmented else segment(text, known)
            counts.update({word for word in words if len(word) == 2})
    return _common(counts, lambda word: is_han(word) and CHINESE.isdisjoint((word, *word)))


def segment(text: str, known: Collection[str]) -> list[str]:
    """The words that the longest match finds both from the left and from the right.

    A pair of characters that only meet across a word boundary seldom passes both ways.
    """
    forward: set[tuple[int, int]] = set()
    start = 0
    while start < len(text):
        longest = min(len(text), start + _LONGEST)
        end = next((e for e in range(longest, start + 1, -1) if text[start:e] in known), start + 1)
        forward.add((start, end))
        start = end
    backward: set[tuple[int, int]] = set()
    end = len(text)
    while end > 0:
        longest = max(0, end - _LONGEST)
        start = next((s for s in range(longest, end - 1) if text[s:end] in known), end - 1)
        backward.add((start, end))
        end = start
    return [text[start:end] for start, end in sorted(forward & backward)]


def _common_en(sentences: list[Sentence], corpus: Corpus) -> list[str]:
    """Lower-case words, the commonest first; the dictionary's English tells words from jargon."""
    plain = {word for entry in corpus.entries for gloss in entry.glosses for word in gloss.split()}
    counts: Counter[str] = Counter()
    for sentence in sentences:
        if sentence["lang"] == "en":
            counts.update({word.lower() for word in _EN_WORD.findall(sentence["text"])})
    return _common(counts, lambda word: _is_content_en(word) and (not plain or word in plain))


def _is_content_en(word: str) -> bool:
    return len(word) >= _SHORTEST_EN and word.isalpha() and word not in ENGLISH


def _common(counts: Counter[str], is_content: Callable[[str], bool]) -> list[str]:
    found = [word for word, count in counts.items() if count >= _SEEN_IN and is_content(word)]
    return sorted(found, key=lambda word: (-counts[word], word))


def _translations(entries: Iterable[cedict.Entry], wanted: set[str]) -> dict[str, list[str]]:
    """A few short meanings of each wanted word, over all its readings."""
    found: dict[str, list[str]] = {}
    for entry in entries:
        if entry.word in wanted and not entry.is_name:
            short = [gloss for gloss in entry.glosses if len(gloss) <= _GLOSS_LENGTH]
            found.setdefault(entry.word, []).extend(short)
    unique = {word: list(dict.fromkeys(glosses)) for word, glosses in found.items()}
    return {word: glosses[:_GLOSSES] for word, glosses in unique.items() if glosses}
