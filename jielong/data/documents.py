"""A document: the unit that is cleaned, counted, held out and shuffled."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field


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
    masked: Mapping[str, int] = field(default_factory=dict, compare=False)
    """How many pieces of personal data of each kind gave way to a placeholder."""

    @property
    def id(self) -> str:
        """A name that depends on nothing but the source and the key."""
        return hashlib.sha256(f"{self.source}\x1f{self.key}".encode()).hexdigest()[:16]

    @property
    def size_bytes(self) -> int:
        """The size of the text in UTF-8."""
        return len(self.text.encode())


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """A document that a cleaning step refused, and the value that decided."""

    document: Document
    rule: str  # a short dotted name, such as "heuristics.too_short"
    detail: str


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """Input that could not be read: nothing became of it, and the run went on."""

    file: str
    offset: int  # bytes (or records, where a format has those) before the fault
    reason: str


Block = Callable[[Document], Document | Dropped]
"""One cleaning step for one document: pure, and picklable, because workers are processes."""


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
