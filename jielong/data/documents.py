"""A document: the unit that is cleaned, counted, held out and shuffled."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Document:
    """A piece of running text.

    `group` names what must stay on one side of the held-out wall: all documents of one statute,
    one chapter or one module quote each other.
    """

    source: str
    key: str  # unique within the source
    text: str
    lang: str  # "zh", "en", or "mixed" where both stand side by side
    group: str

    @property
    def id(self) -> str:
        """A name that depends on nothing but the source and the key."""
        return hashlib.sha256(f"{self.source}\x1f{self.key}".encode()).hexdigest()[:16]

    @property
    def size_bytes(self) -> int:
        """The size of the text in UTF-8."""
        return len(self.text.encode())


def pack(parts: Iterable[str], target_bytes: int, separator: str = "\n\n") -> Iterator[str]:
    """Join neighbouring parts into texts of about `target_bytes`; no part is ever cut."""
    held: list[str] = []
    size = 0
    for part in parts:
        part_size = len(part.encode())
        if held and size + part_size > target_bytes:
            yield separator.join(held)
            held, size = [], 0
        held.append(part)
        size += part_size + len(separator)
    if held:
        yield separator.join(held)
