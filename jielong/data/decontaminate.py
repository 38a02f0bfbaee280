"""Decontamination: cut out of the training text what stands in an evaluation set.

As GPT-3 did (arXiv:2005.14165, appendix C): a text that shares n = 13 units in a row with an
evaluation item loses them and a window of characters on both sides; pieces that are shorter than
the window go too, and so does a document that falls into too many pieces. Grams that stand in many
documents are common phrases and stay, unless they are a whole item: that goes however often it was
said. An item of fewer units must occur whole.

Compared are units in one width and one case, so punctuation and spaces do not matter. Two passes:
`GramIndex.count` over all documents, part by part, and with the sum of the counts a
`Decontaminator`, which cleans one document.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jielong.core import json_lines
from jielong.core.config import check_positive
from jielong.core.errors import DataError
from jielong.data.documents import Document, Dropped
from jielong.data.grams import distinct, hash_units, mix, windows

_SLOTS_PER_GRAM = 16


@dataclass(frozen=True, kw_only=True)
class DecontaminationConfig:
    """What counts as a leaked item, and how much around it goes."""

    ngram: int = 13  # units
    shortest_item: int = 8  # units; a shorter item is too short to be told from an accident
    window: int = 200  # characters
    window_zh: int = 70  # characters, in documents whose language is zh
    max_pieces: int = 10
    common: int = 10  # a gram in more documents than this is a common phrase

    def __post_init__(self) -> None:
        check_positive(self, "ngram", "shortest_item", "max_pieces", "common")
        if self.shortest_item > self.ngram:
            raise ValueError(f"shortest_item: {self.shortest_item}: must be at most ngram")
        for name in ("window", "window_zh"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: {getattr(self, name)}: must be at least 0")


def load_items(paths: Iterable[Path], fields: Sequence[str] = ()) -> dict[str, list[str]]:
    """Evaluation items from JSON Lines: for each file's name the texts of its rows.

    Every string in a row is a text, or only those under the named `fields`. Raises `DataError`
    for a file that cannot be read or whose rows hold none of them.
    """
    found: dict[str, list[str]] = {}
    for path in paths:
        texts: list[str] = []
        keys: set[str] = set()
        for where, row in json_lines.read(path):
            if not fields:
                texts += _strings(row)
                continue
            if not isinstance(row, dict):
                raise DataError(f"{where}: not an object: leave out fields, or give objects")
            keys |= row.keys()
            texts += [text for name in fields for text in _strings(row.get(name))]
        if not texts:
            asked = f"no text in {', '.join(fields)} (there are: {', '.join(sorted(keys))})"
            raise DataError(f"{path}: {asked if fields else 'no text'}: nothing to look for")
        found.setdefault(path.stem, []).extend(texts)
    return found


def _strings(value: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON value
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


@dataclass(frozen=True, eq=False)
class GramIndex:
    """The grams of evaluation items, ready to be looked for; make it with `build_index`."""

    config: DecontaminationConfig
    grams: NDArray[np.uint64]  # sorted and distinct
    items: dict[str, list[list[NDArray[np.int64]]]]  # of each set and item, its forms' grams
    given: dict[str, int]  # of each set, how many items there were, those too short among them
    beginning: dict[int, list[NDArray[np.int64]]]  # the forms of items by their first gram
    sizes: tuple[int, ...]  # of grams, in units
    slots: NDArray[np.bool_]  # whether a gram begins with these bits; settles most look-ups

    def count(self, texts: Iterable[str]) -> NDArray[np.int64]:
        """In how many of the texts each gram stands. The counts of parts add up."""
        total = np.zeros(len(self.grams), dtype=np.int64)
        for text in texts:
            hits = [numbers for _, _, numbers in self.find(text)]
            if hits:
                total[np.concatenate(hits)] += 1  # by one, however often a gram is among the hits
        return total

    def leaked(self, counts: NDArray[np.int64]) -> dict[str, int]:
        """Of each set, how many items stand in the text: in part, or all of their common grams."""
        dirty = (counts > 0) & (counts <= self.config.common)

        def stands(form: NDArray[np.int64]) -> bool:
            return bool(dirty[form].any() or (counts[form] > 0).all())

        return {
            name: sum(any(map(stands, forms)) for forms in items)
            for name, items in self.items.items()
        }

    def find(self, text: str) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
        """(size, starts, numbers): the grams of `size` units in `text`, by the unit they start at.

        Only sizes of which one is found.
        """
        units = hash_units(text).hashes
        for size in self.sizes:
            hashes = _gram_hashes(units, size)
            starts = np.flatnonzero(self.slots[_slot(hashes, len(self.slots))])
            hashes = hashes[starts]
            numbers = np.minimum(np.searchsorted(self.grams, hashes), len(self.grams) - 1)
            found = self.grams[numbers] == hashes
            if found.any():
                yield size, starts[found], numbers[found]


def build_index(
    items: Mapping[str, Sequence[str]],
    config: DecontaminationConfig,
    forms: Callable[[str], Iterable[str]] = lambda text: [text],
) -> GramIndex:
    """Index the texts of each set; those of fewer than `shortest_item` units are left out.

    `forms` are the spellings of an item that a text may have.
    """
    hashes: dict[str, list[list[NDArray[np.uint64]]]] = {}
    sizes: set[int] = set()
    for name, texts in items.items():
        found = ([_form(text, config, sizes) for text in forms(item)] for item in texts)
        found = ([form for form in item if form is not None] for item in found)
        hashes[name] = [item for item in found if item]
    everything = [form for listed in hashes.values() for item in listed for form in item]
    grams = distinct(np.concatenate([np.empty(0, dtype=np.uint64), *everything]))
    slots = np.zeros(2 ** (_SLOTS_PER_GRAM * len(grams)).bit_length(), dtype=np.bool_)
    slots[_slot(grams, len(slots))] = True
    numbered = {
        name: [[np.searchsorted(grams, form) for form in item] for item in listed]
        for name, listed in hashes.items()
    }
    beginning: dict[int, list[NDArray[np.int64]]] = defaultdict(list)
    for form in (form for listed in numbered.values() for item in listed for form in item):
        beginning[int(form[0])].append(form)
    given = {name: len(texts) for name, texts in items.items()}
    return GramIndex(config, grams, numbered, given, dict(beginning), tuple(sorted(sizes)), slots)


def _form(text: str, config: DecontaminationConfig, sizes: set[int]) -> NDArray[np.uint64] | None:
    """The grams of one spelling, whose size is noted; None if it is too short."""
    units = hash_units(text).hashes
    size = min(config.ngram, len(units))
    if size < config.shortest_item:
        return None
    sizes.add(size)
    return _gram_hashes(units, size)


@dataclass(frozen=True, eq=False)
class Decontaminator:
    """The cleaning step for one document, given how often each gram stands in all of them."""

    index: GramIndex
    counts: NDArray[np.int64]

    def __call__(self, document: Document) -> Document | Dropped:
        """The document without what leaked into it, its pieces as paragraphs of their own."""
        config = self.index.config
        window = config.window_zh if document.lang == "zh" else config.window
        spans = self.leaks(document.text)
        if not spans:
            return document
        pieces = _pieces(document.text, spans, window)
        if len(pieces) > config.max_pieces:
            detail = f"{len(pieces)} pieces > {config.max_pieces}"
            return Dropped(document=document, rule="decontaminate.pieces", detail=detail)
        long = [piece.strip() for piece in pieces if len(piece) >= max(window, 1)]
        if not any(long):
            detail = f"no piece of {window} characters left"
            return Dropped(document=document, rule="decontaminate.too_short", detail=detail)
        return replace(document, text="\n\n".join(filter(None, long)))

    def leaks(self, text: str) -> list[tuple[int, int]]:
        """The spans of `text`, in characters, that stand in an evaluation item; some overlap."""
        runs: list[tuple[int, int]] = []
        for size, starts, numbers in self.index.find(text):
            rare = self.counts[numbers] <= self.index.config.common
            runs += [(start, start + size - 1) for start in starts[rare].tolist()]
            for place in np.flatnonzero(~rare).tolist():
                runs += self._whole(size, starts[place:], numbers[place:])
        if not runs:
            return []
        units = hash_units(text)
        return sorted((int(units.start[first]), int(units.end[last])) for first, last in runs)

    def _whole(
        self, size: int, starts: NDArray[np.int64], numbers: NDArray[np.int64]
    ) -> Iterator[tuple[int, int]]:
        """The items that stand whole where the first of these grams does."""
        for form in self.index.beginning.get(int(numbers[0]), ()):
            last = len(form) - 1
            follows = last < len(numbers) and starts[last] - starts[0] == last
            if follows and np.array_equal(numbers[: last + 1], form):
                yield int(starts[0]), int(starts[last]) + size - 1


def _pieces(text: str, spans: Iterable[tuple[int, int]], window: int) -> list[str]:
    """What is left of `text` between the spans, each widened by `window` on both sides."""
    pieces = []
    position = 0
    for start, end in spans:
        if start - window > position:
            pieces.append(text[position : start - window])
        position = max(position, end + window)
    if position < len(text):
        pieces.append(text[position:])
    return pieces


def _gram_hashes(units: NDArray[np.uint64], size: int) -> NDArray[np.uint64]:
    return mix(windows(units, size))


def _slot(grams: NDArray[np.uint64], slots: int) -> NDArray[np.int64]:
    """The first bits of each gram, as many as number the slots."""
    return (grams >> np.uint64(65 - slots.bit_length())).astype(np.int64)
