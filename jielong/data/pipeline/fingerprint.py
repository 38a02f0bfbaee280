"""Phase 2: what each document is compared by, so that no later phase needs all texts at once."""

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from jielong.data.dedup import digest, long_paragraphs
from jielong.data.minhash import NearConfig, band_keys
from jielong.data.near_duplicates import save_keys
from jielong.data.pipeline.arrays import save_arrays
from jielong.data.pipeline.outputs import Folder
from jielong.data.pipeline.parts import parse, read_documents
from jielong.data.pipeline.repeats import Fingerprints

_BATCH = 256  # documents whose signatures are made together


@dataclass(frozen=True)
class Fingerprint:
    """The work of one task: the table of one part's documents."""

    source: Folder
    target: Path
    ranks: Mapping[str, int]
    near: NearConfig | None
    keys: Path
    seed: int

    def __call__(self, task: int) -> None:
        """Read the kept documents of part `task`, write their `Fingerprints`."""
        path = self.source.file("kept", task)
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
        table = Fingerprints(
            ids=np.array(ids, dtype=np.uint64),
            ranks=np.array(ranks, dtype=np.uint16),
            offsets=np.array(offsets, dtype=np.uint64),
            texts=np.array(texts, dtype=np.uint64),
            paragraphs=np.array(paragraphs, dtype=np.uint64),
            owners=np.array(owners, dtype=np.uint32),
            places=np.array(places, dtype=np.uint32),
        )
        save_arrays(self.target / f"{task:05d}.npz", table)
        if self.near:
            texts = (document.text for document in read_documents(path))
            save_keys(self.keys / f"{task:05d}.npy", _keys(texts, self.near, self.seed))


def _keys(texts: Iterator[str], near: NearConfig, seed: int) -> np.ndarray:
    """The band keys of all texts, a few at a time. # (bands, D)"""
    keys = [np.empty((near.bands, 0), dtype=np.uint32)]
    while batch := list(islice(texts, _BATCH)):
        keys.append(band_keys(batch, near, seed))
    return np.concatenate(keys, axis=1)
