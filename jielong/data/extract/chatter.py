"""Small talk, by subject: questions with their answers, and a few longer conversations."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import PurePosixPath
from typing import Literal

from jielong.core.errors import DataError
from jielong.data.archives import Member
from jielong.data.documents import Document, pack

_DOCUMENT_BYTES = 1000
_ANSWERS_TO_ONE = frozenset(("computers", "emotion", "psychology"))
"""Subjects in which all that follows a question are answers to it, not turns of a talk."""

_LOST_CODE = re.compile(r"(=|#|\bin[)}]?)[ \t]*$", re.MULTILINE)
"""Some code in the file has lost what stood in square brackets: `numbers =`, `{x for x in}`."""


@dataclass(frozen=True)
class Conversation:
    """What two sides say in turn."""

    subject: str
    lang: Literal["zh", "en"]
    turns: tuple[str, ...]


def parse(members: Iterable[Member]) -> list[Conversation]:
    """Every conversation once, where it stands first: half of the files is repetition."""
    found: dict[tuple[str, ...], Conversation] = {}
    for member in members:
        path = PurePosixPath(member.name)
        lang = "zh" if path.parent.name == "chinese" else "en"
        for turns in _conversations(path.stem, member.data):
            if all(turns) and not any(map(_LOST_CODE.search, turns)):
                found.setdefault(turns, Conversation(path.stem, lang, turns))
    return list(found.values())


def documents(conversations: Iterable[Conversation]) -> Iterator[Document]:
    """Neighbouring conversations of one subject, about 1 kB to a document; a line is a turn."""
    for (lang, subject), found in groupby(
        conversations, key=lambda each: (each.lang, each.subject)
    ):
        texts = ("\n".join(each.turns) for each in found)
        for part, text in enumerate(pack(texts, _DOCUMENT_BYTES)):
            key = f"{lang}/{subject}/{part}"
            yield Document(source="chatter", key=key, text=text, lang=lang, group=key)


def _conversations(subject: str, data: bytes) -> Iterator[tuple[str, ...]]:
    try:
        import yaml
    except ImportError:
        raise DataError("source 'chatter' needs PyYAML: pip install 'jielong[data]'") from None
    for listed in yaml.safe_load(data)["conversations"]:
        if isinstance(listed, list):  # one is a stray sentence
            first, *others = (_turn(str(turn)) for turn in listed)
            if subject in _ANSWERS_TO_ONE:
                yield from ((first, other) for other in others)
            elif others:
                yield (first, *others)


def _turn(text: str) -> str:
    """Spaces made single, except where code is set out."""
    if "```" in text:
        return "\n".join(line.rstrip() for line in text.strip().splitlines() if line.strip())
    return " ".join(text.split())
