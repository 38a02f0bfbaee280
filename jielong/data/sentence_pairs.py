"""Sentences and their translations, taken back out of the documents that hold them side by side."""

from typing import NamedTuple

from jielong.core.errors import DataError
from jielong.core.run_dir import RunDir
from jielong.data.lexicon import Lexicon
from jielong.data.prepared import document_files, read_lines
from jielong.data.splits import Split, split

SOURCE = "hsk"
PLACEHOLDER = "placeholder"
"""What the source has in place of a translation that nobody made."""


class SentencePair(NamedTuple):
    """The same said in Chinese and in English."""

    zh: str
    en: str


def sentence_pairs(prepared: RunDir) -> dict[Split, list[SentencePair]]:
    """The pairs of a prepare run, each Chinese sentence once, by the side of the wall it is on.

    The side depends on the Chinese sentence alone: what is asked for was never shown, whichever
    document it stood in. Raises `DataError` when a side that is needed is empty.
    """
    found: dict[str, str] = {}
    for file in document_files(prepared):
        for line in read_lines(file, ("text", "source")):
            if line.record["source"] != SOURCE:
                continue
            for block in line.record["text"].split("\n\n"):
                sentences = block.split("\n")
                if len(sentences) == 2 and sentences[1] != PLACEHOLDER:
                    found.setdefault(*sentences)
    sides: dict[Split, list[SentencePair]] = {"train": [], "dev": [], "test": []}
    for zh, en in found.items():
        sides[split(zh)].append(SentencePair(zh, en))
    if not sides["train"] or not sides["test"]:
        raise DataError(
            f"{prepared.path}: {len(found)} pairs of sentences: too few to hold some out; prepare "
            f"more of the source {SOURCE}"
        )
    return sides


def word_pairs(lexicon: Lexicon) -> list[SentencePair]:
    """Dictionary words with each of their glosses; words that tests ask for are left out."""
    return [
        SentencePair(word, gloss)
        for word, glosses in lexicon.translations.items()
        if split(word) == "train"
        for gloss in glosses
    ]
