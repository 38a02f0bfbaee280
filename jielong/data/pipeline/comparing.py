"""Phase 3 as a task: the fingerprints of all parts, read and compared."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from jielong.data.minhash import NO_KEY, NearConfig
from jielong.data.near_duplicates import NearDuplicate, find, ranks, save_keys
from jielong.data.pipeline import parts
from jielong.data.pipeline.arrays import save_arrays
from jielong.data.pipeline.compare import compare
from jielong.data.pipeline.repeats import Fingerprints
from jielong.data.pipeline.workspace import Workspace


@dataclass(frozen=True)
class Compare:
    """The one task of its phase."""

    at: Workspace
    near: NearConfig | None

    def __call__(self, task: int) -> None:  # noqa: ARG002 - there is one
        """Write the decisions of every part."""
        tables = list(map(Fingerprints.load, self.at.files("fingerprints")))
        near = partial(self._near, tables, self.near) if self.near else None
        for part, decisions in enumerate(compare(tables, near)):
            save_arrays(self.at.file("decisions", part), decisions)

    def _near(
        self, tables: list[Fingerprints], near: NearConfig, left: list[np.ndarray]
    ) -> list[NearDuplicate]:
        """Near repeats among the documents that are left."""
        candidates = self.at.files("candidates", "npy")
        for part, kept in enumerate(left):
            keys = np.load(self.at.file("keys", part, "npy"))
            keys[:, ~kept] = NO_KEY
            save_keys(candidates[part], keys)

        def fetch(part: int, row: int) -> str:
            path = self.at.documents("extract", part)
            with path.open("rb") as file:
                file.seek(int(tables[part].offsets[row]))
                return parts.parse(file.readline(), path).text

        rank = ranks(
            np.concatenate([table.ranks for table in tables]),
            np.concatenate([table.ids for table in tables]),
        )
        return find(candidates, rank, fetch, near)
