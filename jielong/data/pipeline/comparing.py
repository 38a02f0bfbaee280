"""Phase 3 as a task: the fingerprints of all parts, read and compared."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from jielong.data.minhash import NearConfig
from jielong.data.near_duplicates import NearDuplicate, find
from jielong.data.pipeline import parts
from jielong.data.pipeline.arrays import load_column, save_arrays
from jielong.data.pipeline.compare import compare
from jielong.data.pipeline.workspace import Workspace


@dataclass(frozen=True)
class Compare:
    """The one task of its phase."""

    at: Workspace
    near: NearConfig | None

    def __call__(self, task: int) -> None:  # noqa: ARG002 - there is one
        """Write the decisions of every part."""
        tables, paragraphs = self.at.files("fingerprints"), self.at.files("paragraphs", "bin")
        near = partial(self._near, self.near) if self.near else None
        for part, decisions in enumerate(compare(tables, paragraphs, near)):
            save_arrays(self.at.file("decisions", part), decisions)

    def _near(
        self, near: NearConfig, rank: NDArray[np.uint32], left: NDArray[np.bool_]
    ) -> Iterator[NearDuplicate]:
        """Near repeats among the documents that are left."""
        offsets = [load_column(path, "offsets") for path in self.at.files("fingerprints")]

        def fetch(part: int, row: int) -> str:
            path = self.at.documents("extract", part)
            with path.open("rb") as file:
                file.seek(int(offsets[part][row]))
                return parts.parse(file.readline(), path).text

        return find(self.at.files("keys", "npy"), rank, fetch, near, left)
