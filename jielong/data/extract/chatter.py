"""Small talk in question and answer, by subject."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from jielong.core.errors import DataError
from jielong.data.archives import Member
from jielong.data.documents import Document, pack

_DOCUMENT_BYTES = 1000


@dataclass(frozen=True)
class Exchange:
    """What one side says, and what the other answers."""

    subject: str
    lang: Literal["zh", "en"]
    question: str
    answer: str


def parse(members: Iterable[Member]) -> list[Exchange]:
    """Every exchange once, where it stands first: half of what is written is repetition."""
    found: dict[tuple[str, str], Exchange] = {}
    for member in members:
        path = PurePosixPath(member.name)
        lang = "zh" if path.parent.name == "chinese" else "en"
        for turns in _load(member)["conversations"]:
            said = [" ".join(str(turn).split()) for turn in turns]
            for question, answer in zip(said, said[1:], strict=False):
                if question and answer:
                    exchange = Exchange(path.stem, lang, question, answer)
                    found.setdefault((question, answer), exchange)
    return list(found.values())


def documents(exchanges: Iterable[Exchange]) -> Iterator[Document]:
    """Neighbouring exchanges of one subject, about 1 kB to a document."""
    by_subject: dict[tuple[str, Literal["zh", "en"]], list[str]] = {}
    for each in exchanges:
        told = by_subject.setdefault((each.subject, each.lang), [])
        told.append(f"{each.question}\n{each.answer}")
    for (subject, lang), texts in by_subject.items():
        for part, text in enumerate(pack(texts, _DOCUMENT_BYTES)):
            key = f"{lang}/{subject}/{part}"
            yield Document(source="chatter", key=key, text=text, lang=lang, group=key)


def _load(member: Member) -> dict[str, list[list[str]]]:
    try:
        import yaml
    except ImportError:
        raise DataError("source 'chatter' needs PyYAML: pip install 'jielong[data]'") from None
    return yaml.safe_load(member.data)
