"""What came in from each source, what went and why, and what is left: the manifest's figures."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from jielong.data.documents import Document


@dataclass
class Funnel:
    """Documents and bytes per source after each step, in the order in which steps are counted."""

    documents: dict[str, Counter[str]] = field(default_factory=dict)  # step -> source -> count
    bytes: dict[str, Counter[str]] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)  # source -> SHA-256 of what came in

    def count(self, step: str, documents: Iterable[Document]) -> None:
        """Record what is there after `step`."""
        counts, sizes = Counter[str](), Counter[str]()
        digests: dict[str, Any] = defaultdict(hashlib.sha256)
        for document in documents:
            counts[document.source] += 1
            sizes[document.source] += document.size_bytes
            if not self.documents:
                digests[document.source].update(document.text.encode())
        self.hashes |= {source: digest.hexdigest() for source, digest in digests.items()}
        self.documents[step], self.bytes[step] = counts, sizes

    def size(self, step: str, source: str) -> dict[str, int]:
        """The documents and bytes of one source after one step."""
        return {"documents": self.documents[step][source], "bytes": self.bytes[step][source]}

    def dropped(self, source: str, steps: dict[str, str]) -> dict[str, dict[str, int]]:
        """What each step (name -> reason) took away, compared with the step before it."""
        order = list(self.documents)
        result = {}
        for step, reason in steps.items():
            before, after = self.size(order[order.index(step) - 1], source), self.size(step, source)
            result[reason] = {unit: before[unit] - after[unit] for unit in before}
        return result
