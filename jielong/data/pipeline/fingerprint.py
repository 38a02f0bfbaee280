"""Phase 2: what each document is compared by, so that no later phase needs all texts at once."""

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np

from jielong.data.dedup import digest, long_paragraphs
from jielong.data.minhash import NearConfig, band_keys
from jielong.data.near_duplicates import save_keys
from jielong.data.pipeline.arrays import save_arrays
from jielong.data.pipeline.parts import parse
from jielong.data.pipeline.repeats import Fingerprints
from jielong.data.pipeline.workspace import Workspace

_BATCH = 256  # documents whose signatures are made together


@dataclass(frozen=True)
class Fingerprint:
    """The work of one task: the tables of one part's documents. `ranks` is each source's trust."""

    at: Workspace
    ranks: Mapping[str, int]
    near: NearConfig | None
    seed: int

    def __call__(self, task: int) -> None:
        """Read what is left of part `task`, write what tells it apart."""
        save_arrays(self.at.file("fingerprints", task), self._table(task))
        if self.near:
            texts = (document.text for document in self.at.read("extract", task))
            save_keys(self.at.file("keys", task, "npy"), _keys(texts, self.near, self.seed))

    def _table(self, task: int) -> Fingerprints:
        path = self.at.documents("extract", task)
        ids, ranks, offsets, texts = array("Q"), array("H"), array("Q"), array("Q")
        paragraphs, owners, places = array("Q"), array("L"), array("L")
        with path.open("rb") as file:
            offset = 0
            for number, line in enumerate(file):
                document = parse(line, path)
                ids.append(int(document.id, 16))
                ranks.append(self.ranks[document.source])
                offsets.append(offset)
                texts.append(digest(document.text))
                for place, paragraph in long_paragraphs(document.text):
                    paragraphs.append(digest(paragraph))
                    owners.append(number)
                    places.append(place)
                offset += len(line)
        return Fingerprints(
            ids=np.array(ids, dtype=np.uint64),
            ranks=np.array(ranks, dtype=np.uint16),
            offsets=np.array(offsets, dtype=np.uint64),
            texts=np.array(texts, dtype=np.uint64),
            paragraphs=np.array(paragraphs, dtype=np.uint64),
            owners=np.array(owners, dtype=np.uint32),
            places=np.array(places, dtype=np.uint32),
        )


def _keys(texts: Iterator[str], near: NearConfig, seed: int) -> np.ndarray:
    """The band keys of all texts, a few at a time. # (bands, D)"""
    keys = [np.empty((near.bands, 0), dtype=np.uint32)]
    while batch := list(islice(texts, _BATCH)):
        keys.append(band_keys(batch, near, seed))
    return np.concatenate(keys, axis=1)
