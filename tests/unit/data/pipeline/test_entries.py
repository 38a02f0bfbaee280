import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from jielong.data.pipeline import entries
from jielong.data.pipeline.entries import by_range, entry_writer


def test_all_entries_come_back_and_those_of_one_key_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "_RUN", 50)
    monkeypatch.setattr(entries, "_RANGE", 80)
    random = np.random.default_rng(0)
    some = random.integers(0, 2**64, size=200, dtype=np.uint64)
    some[:2] = 0, 2**64 - 1  # both ends of the first and the last range
    paths, written = [], Counter[tuple[int, int, int]]()
    for number, size in enumerate((0, 1, 50, 333)):
        paths.append(tmp_path / f"{number}.bin")
        keys = random.choice(some, size=size)
        with entry_writer(paths[-1]) as writer:
            for start in range(0, size, 7):
                writer.add(keys[start : start + 7], start)
        written.update((int(key), number, place // 7 * 7) for place, key in enumerate(keys))
    batches = list(by_range(paths))
    assert len(batches) == 5  # 384 entries, about 80 at a time
    read = [list(zip(*map(np.ndarray.tolist, batch), strict=True)) for batch in batches]
    assert Counter(entry for batch in read for entry in batch) == written
    keys_of = [{key for key, _, _ in batch} for batch in read]
    assert sum(map(len, keys_of)) == len(set.union(*keys_of))


def test_no_entries_at_all(tmp_path: Path) -> None:
    with entry_writer(tmp_path / "a.bin"):
        pass
    (batch,) = by_range([tmp_path / "a.bin"])
    assert [column.tolist() for column in batch] == [[], [], []]


def test_memory_does_not_grow_with_the_entries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "_RUN", 2**10)
    monkeypatch.setattr(entries, "_RANGE", 2**12)
    random = np.random.default_rng(0)
    count = 200_000
    tracemalloc.start()
    with entry_writer(tmp_path / "a.bin") as writer:
        for _ in range(count // 1000):
            writer.add(random.integers(0, 2**64, size=1000, dtype=np.uint64), 0)
    assert sum(len(batch.keys) for batch in by_range([tmp_path / "a.bin"])) == count
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * count  # an entry is 16 bytes
