"""Caps, hold-out and order, from catalogues as the select phase writes them."""

import tracemalloc
from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pytest

from jielong.data.documents import Document
from jielong.data.pipeline import entries
from jielong.data.pipeline.assemble import choose
from jielong.data.pipeline.catalogue import Catalogues, cataloguer
from jielong.data.pipeline.places import Places
from jielong.data.pipeline.workspace import Workspace

NAMES = ("laws", "files")
SEEDS = range(40)


def text(random: Random, size: int) -> str:
    """About so many bytes of clauses of 14 Han characters that nobody else says."""
    clauses = (
        "".join(chr(random.randrange(0x4E00, 0x9F00)) for _ in range(14)) for _ in range(size // 45)
    )
    return "。".join(clauses)


def document(key: str, text: str, source: str = "files", group: str = "") -> Document:
    return Document(source=source, key=key, text=text, lang="zh", group=group or key)


def catalogued(folder: Path, *parts: list[Document]) -> Catalogues:
    """Their catalogues; as its offset each document has its number within its part."""
    at, ranks = Workspace(folder, len(parts)), {name: rank for rank, name in enumerate(NAMES)}
    for number, part in enumerate(parts):
        with cataloguer(at, number, ranks) as catalogue:
            for offset, one in enumerate(part):
                catalogue.add(one, offset)
    return Catalogues(at)


def keys(places: Places, *parts: list[Document]) -> list[str]:
    return [parts[place.part][place.offset].key for place in places]


def valid_of(
    catalogues: Catalogues, documents: list[Document], share: float, seed: int
) -> list[Document]:
    """What is held out of one part."""
    chosen = choose(catalogues, NAMES, {}, share, seed)
    assert len(chosen.train) + len(chosen.valid) == len(documents)
    return [documents[place.offset] for place in chosen.valid]


def test_groups_that_quote_each_other_are_on_one_side_however_they_lie(tmp_path: Path) -> None:
    random = Random(0)
    shared = [text(random, 300) for _ in range(10)]
    documents = [
        document(str(i), f"{text(random, 600)}。{shared[i % 10]}", group=f"g{i % 20}")
        for i in range(100)
    ]
    parts = documents[:33], documents[33:34], [], documents[34:]
    catalogues = catalogued(tmp_path / "a", *parts)
    backwards = documents[::-1]
    others = catalogued(tmp_path / "b", backwards)
    for seed in SEEDS:
        chosen = choose(catalogues, NAMES, {}, 0.2, seed)
        valid = keys(chosen.valid, *parts)
        assert len(valid) == 20
        assert not {int(key) % 10 for key in valid} & {
            int(key) % 10 for key in keys(chosen.train, *parts)
        }
        # Nor does it matter which part a document lies in.
        again = choose(others, NAMES, {}, 0.2, seed)
        assert keys(again.valid, backwards) == valid
        assert keys(again.train, backwards) == keys(chosen.train, *parts)


def test_a_cap_is_filled_but_not_exceeded(tmp_path: Path) -> None:
    random = Random(0)
    documents = [document(str(i), text(random, 900), NAMES[i % 2]) for i in range(60)]
    chosen = choose(catalogued(tmp_path, documents), NAMES, {"laws": 5000}, 0.1, 0)
    over = set(keys(chosen.over_cap, documents))
    kept = set(keys(chosen.train, documents)) | set(keys(chosen.valid, documents))
    assert sorted([*over, *kept], key=int) == [one.key for one in documents]
    assert all(int(key) % 2 == 0 for key in over)
    size = len(documents[0].text.encode())
    assert len(over) == 30 - 5000 // size


def test_who_quotes_another_source_stands_on_its_side(tmp_path: Path) -> None:
    random = Random(0)
    laws = [document(f"law{i}", text(random, 900), "laws") for i in range(20)]
    files = [document(f"file{i}", text(random, 900)) for i in range(20)]
    files += [document(f"quote{i}", f"{text(random, 900)}。{laws[i].text}") for i in range(5)]
    # Of one name, but of another source: that alone ties nobody.
    files.append(document("namesake", text(random, 900), group="law0"))
    documents = laws + files
    catalogues = catalogued(tmp_path, documents)
    sides = Counter[str]()
    sizes = dict.fromkeys(NAMES, 0.0)
    for seed in SEEDS:
        valid = valid_of(catalogues, documents, 0.1, seed)
        held = {one.key for one in valid}
        for number in range(5):
            assert (f"quote{number}" in held) == (f"law{number}" in held)
        sides["namesake"] += ("namesake" in held) != ("law0" in held)
        for source in NAMES:
            size = sum(one.size_bytes for one in valid if one.source == source)
            whole = sum(one.size_bytes for one in documents if one.source == source)
            assert 0.1 <= size / whole <= 0.2
            sizes[source] += size / whole
    assert sides["namesake"]
    assert all(sizes[source] / len(SEEDS) < 0.15 for source in NAMES)


def test_one_large_cluster_is_not_the_held_out_text(tmp_path: Path) -> None:
    random = Random(0)
    large = text(random, 45_000)
    documents = [document(f"small{i}", text(random, 1000)) for i in range(10)]
    documents += [document(f"large{i}", large) for i in range(2)]
    catalogues = catalogued(tmp_path, documents)
    for seed in SEEDS:
        held = valid_of(catalogues, documents, 0.05, seed)
        assert 0.04 < sum(one.size_bytes for one in held) / 100_000 < 0.1


def test_where_all_clusters_are_large_one_is_held_out(tmp_path: Path) -> None:
    random = Random(0)
    documents = [document(str(i), text(random, 1000 + 100 * i)) for i in range(4)]
    catalogues = catalogued(tmp_path, documents)
    held = [valid_of(catalogues, documents, 0.05, seed) for seed in SEEDS]
    assert {len(each) for each in held} == {1}
    assert len({one.key for [one] in held}) == 4


def test_something_of_every_source_is_trained_on(tmp_path: Path) -> None:
    random = Random(0)
    law = text(random, 900)
    documents = [document(f"law{i}", text(random, 900), "laws") for i in range(5)]
    documents += [document("law", law, "laws"), document("file", law)]
    catalogues = catalogued(tmp_path, documents)
    for seed in SEEDS:
        assert {one.source for one in valid_of(catalogues, documents, 0.1, seed)} == {"laws"}


def test_nothing_comes_of_nothing(tmp_path: Path) -> None:
    chosen = choose(catalogued(tmp_path, [], []), NAMES, {"laws": 1}, 0.1, 0)
    assert [len(chosen.train), len(chosen.valid), len(chosen.over_cap)] == [0, 0, 0]


def test_memory_does_not_grow_with_clauses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "_RUN", 2**10)
    monkeypatch.setattr(entries, "_RANGE", 2**12)
    random, at, each = np.random.default_rng(0), Workspace(tmp_path, 4), 500
    tracemalloc.start()
    for part in range(at.count):
        with cataloguer(at, part, {"files": 0}) as catalogue:
            for number in range(100):
                catalogue.add(document(f"{part}/{number}", "字"), number)
                digests = random.integers(0, 2**64, size=each, dtype=np.uint64)
                catalogue._clauses.add(digests, number)
    assert len(choose(Catalogues(at), NAMES, {}, 0.1, 0).train) > 300
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * at.count * 100 * each  # a clause is 16 bytes in its file
