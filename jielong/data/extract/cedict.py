"""CC-CEDICT: its entries, and the same as prose that a language model can learn from."""

import gzip
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from jielong.core.errors import DataError
from jielong.data.clean import is_han
from jielong.data.documents import Document, pack
from jielong.data.pinyin import tone_marks
from jielong.data.splits import bucket, is_unseen

_DOCUMENT_BYTES = 1000
_UNPACKED_BYTES = 30_000_000
_TOLD_MEANINGS = 5
_LINE = re.compile(r"(\S+) (\S+) \[([^\]]*)\] /(.*)/")
_PARENTHESES = re.compile(r"\s*\([^()]*\)")
_CROSS_REFERENCE = re.compile(
    r"(old |archaic |Japanese |erhua )?variant of|see |used in|abbr\.|surname |CL:|also |"
    r"classifier for|Taiwan|.*(\bpr\.|[\[\]])"
)
_MANNER = re.compile(r"^(lit|fig)\. ")


@dataclass(frozen=True)
class Entry:
    """One simplified headword with one reading and its senses."""

    word: str
    reading: str  # numbered, as in the file
    senses: tuple[str, ...]

    @property
    def pinyin(self) -> str:
        """The reading with tone marks."""
        return tone_marks(self.reading)

    @property
    def is_name(self) -> bool:
        """Whether this is a proper name: the dictionary writes those with a capital."""
        return self.reading[:1].isupper()

    @property
    def is_idiom(self) -> bool:
        """Whether it is marked as an idiom and has the classical four characters."""
        return len(self.word) == 4 and is_han(self.word) and "(idiom)" in "/".join(self.senses)

    @cached_property
    def glosses(self) -> tuple[str, ...]:
        """The plain English meanings: no cross references, no remarks in parentheses."""
        return tuple(dict.fromkeys(gloss for sense in self.senses for gloss in _plain(sense)))

    @property
    def short_gloss(self) -> str | None:
        """One meaning: the figurative one if it is marked as such, else the first."""
        for sense in self.senses:
            if sense.startswith("fig. ") and (found := _plain(sense)):
                return found[0]
        return self.glosses[0] if self.glosses else None


def parse(data: bytes) -> list[Entry]:
    """All entries, sorted by headword and reading."""
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        raw = file.read(_UNPACKED_BYTES + 1)
    if len(raw) > _UNPACKED_BYTES:
        raise DataError(f"source 'cedict': over {_UNPACKED_BYTES:,} bytes unpacked: refused")
    found = []
    for line in raw.decode().splitlines():
        if match := _LINE.fullmatch(line):
            _, word, reading, senses = match.groups()
            found.append(Entry(word, reading, tuple(senses.split("/"))))
    return sorted(found, key=lambda entry: (entry.word, entry.reading, entry.senses))


def documents(entries: Iterable[Entry]) -> Iterator[Document]:
    """Neighbouring entries as sentences, about 1 kB of them to a document.

    Told are words that a reader meets: idioms, and words with several meanings. Names, cross
    references and the headwords of the unseen test buckets are left out.
    """
    sentences = (_sentence(entry) for entry in entries if _is_worth_telling(entry))
    for part, text in enumerate(pack(sentences, _DOCUMENT_BYTES, separator="\n")):
        yield Document(source="cedict", key=f"{part}", text=text, lang="mixed", group=f"{part}")


def _is_worth_telling(entry: Entry) -> bool:
    if entry.is_name or not is_han(entry.word) or is_unseen(entry.word):
        return False
    return bool(entry.glosses) and (entry.is_idiom or len(entry.glosses) >= 2)


def _sentence(entry: Entry) -> str:
    """One of a few wordings, chosen by the word itself."""
    *others, last = entry.glosses[:_TOLD_MEANINGS]
    meaning = f"{', '.join(others)} or {last}" if others else last
    kind = "idiom" if entry.is_idiom else "word"
    wordings = (
        f"“{entry.word}” is read {entry.pinyin} and means {meaning}.",
        f"The Chinese {kind} {entry.word} ({entry.pinyin}) means {meaning}.",
        f"“{entry.word}”读作 {entry.pinyin}，英语是 {meaning}。",
        f"{entry.word}（{entry.pinyin}）的意思是：{meaning}。",
    )
    return wordings[bucket(entry.word) % len(wordings)]


def _plain(sense: str) -> list[str]:
    """The meanings in one sense, or none if it only points elsewhere."""
    if _CROSS_REFERENCE.match(sense):
        return []
    parts = _PARENTHESES.sub("", sense).split(";")
    plain = (_MANNER.sub("", part.strip()).strip(" .") for part in parts)
    return [part for part in plain if part and part.isascii() and not set("()") & set(part)]
