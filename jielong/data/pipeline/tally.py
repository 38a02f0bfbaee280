"""Counts of documents and bytes by source and step, and of what was dropped by which rule.

Each task leaves its own; they add up in any order to the figures of the manifest.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jielong.core.files import canonical_json, sha256_json, write_atomic
from jielong.data.documents import Document

Size = dict[str, int]
"""{"documents": how many, "bytes": of UTF-8 text}"""


@dataclass
class Tally:
    """How many documents and bytes there were of each (source, step)."""

    documents: Counter[tuple[str, str]] = field(default_factory=Counter)
    bytes: Counter[tuple[str, str]] = field(default_factory=Counter)
    masked: Counter[tuple[str, str]] = field(default_factory=Counter)
    """For (source, kind) how many pieces of personal data gave way to a placeholder."""
    texts: dict[str, str] = field(default_factory=dict)
    """For "source/number of its part" the SHA-256 of the text that was extracted from it."""

    def count(self, step: str, document: Document) -> None:
        """One document arrived at `step`, or was dropped by the rule of that name."""
        self.documents[document.source, step] += 1
        self.bytes[document.source, step] += document.size_bytes

    def count_masked(self, document: Document) -> None:
        """What was masked in one document."""
        for kind, count in document.masked.items():
            self.masked[document.source, kind] += count

    def add(self, other: "Tally") -> None:
        """Take over another task's counts."""
        self.documents += other.documents
        self.bytes += other.bytes
        self.masked += other.masked
        self.texts |= other.texts

    def size(self, source: str, step: str) -> Size:
        """What one source had at one step."""
        return {
            "documents": self.documents[source, step],
            "bytes": self.bytes[source, step],
        }

    def totals(self) -> Counter[str]:
        """Documents at each step, over all sources."""
        counts = Counter[str]()
        for (_, step), documents in self.documents.items():
            counts[step] += documents
        return counts

    def steps(self, source: str, prefix: str) -> list[str]:
        """The source's steps whose names begin with `prefix`, in alphabetical order."""
        return sorted(
            step for of, step in self.documents if of == source and step.startswith(prefix)
        )

    def text_sha256(self, source: str) -> str:
        """One hash for all that was extracted from a source."""
        return sha256_json({key: value for key, value in self.texts.items() if _of(key) == source})

    def save(self, path: Path) -> None:
        """Write as JSON."""
        counts = {name: _rows(getattr(self, name)) for name in _COUNTERS}
        write_atomic(path, canonical_json({**counts, "texts": self.texts}))

    @classmethod
    def load(cls, path: Path) -> "Tally":
        """Read what `save` wrote."""
        table: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        counters = {name: _counter(table[name]) for name in _COUNTERS}
        return cls(**counters, texts=table["texts"])

    @classmethod
    def sum(cls, paths: Iterable[Path]) -> "Tally":
        """All of these together."""
        total = cls()
        for path in paths:
            total.add(cls.load(path))
        return total


_COUNTERS = ("documents", "bytes", "masked")


def _rows(counter: Counter[tuple[str, str]]) -> list[tuple[str, str, int]]:
    return [(*key, count) for key, count in sorted(counter.items())]


def _counter(rows: Iterable[Sequence[Any]]) -> Counter[tuple[str, str]]:
    return Counter({(source, step): count for source, step, count in rows})


def _of(key: str) -> str:
    return key.rpartition("/")[0]
