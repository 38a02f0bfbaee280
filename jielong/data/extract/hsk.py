"""Graded example sentences in both languages, a few of one topic to a document."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from jielong.data.documents import Document, pack

_DOCUMENT_BYTES = 1000


@dataclass(frozen=True)
class Pair:
    """One Chinese sentence, its segmentation into words, and its English translation."""

    id: str
    level: int
    topic: str
    zh: str
    en: str
    words: tuple[str, ...]


def documents(pairs: Iterable[Pair]) -> Iterator[Document]:
    """Sentence pairs, Chinese then English, of one level and topic together."""
    ordered = sorted(pairs, key=lambda pair: (pair.topic, pair.level, pair.id))
    for topic, found in groupby(ordered, key=lambda pair: pair.topic):
        texts = (f"{pair.zh}\n{pair.en}" for pair in found)
        for part, text in enumerate(pack(texts, _DOCUMENT_BYTES)):
            key = f"{topic}/{part}"
            yield Document(source="hsk", key=key, text=text, lang="mixed", group=key)


def parse(data: bytes) -> list[Pair]:
    """All sentence pairs in the order of their ids."""
    found = [
        Pair(
            row["id"],
            row["hsk_level"],
            row["topic"],
            row["chinese"].strip(),
            row["translation"]["en"].strip(),
            tuple(token["word"] for token in row["tokens"]),
        )
        for row in json.loads(data)
    ]
    return sorted(found, key=lambda pair: pair.id)
