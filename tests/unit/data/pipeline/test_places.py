from pathlib import Path
from random import Random

import numpy as np
import pytest

from jielong.data.pipeline.places import Places, lines_at

DESCRIPTORS = Path("/proc/self/fd")


def open_files() -> int:
    return len(list(DESCRIPTORS.iterdir()))


def test_places_are_taken_by_number_or_by_choice() -> None:
    places = Places(np.array([0, 0, 7], dtype=np.uint32), np.array([0, 2**40, 5], dtype=np.uint64))
    assert list(places) == [(0, 0), (0, 2**40), (7, 5)]
    assert list(places.at(np.array([2, 0]))) == [(7, 5), (0, 0)]
    assert list(places.at(np.array([False, True, False]))) == [(0, 2**40)]
    assert len(places) == 3


@pytest.mark.skipif(not DESCRIPTORS.exists(), reason="asks Linux for the open files")
def test_lines_of_many_files_are_read_with_few_of_them_open(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.txt" for number in range(200)]
    for number, path in enumerate(paths):
        path.write_text(f"{number} a\n{number} b\n", encoding="utf-8")
    places = [(part, line * len(f"{part} a\n")) for part in range(200) for line in (0, 1)]
    Random(0).shuffle(places)
    before = open_files()
    for (part, offset), (line, path) in zip(
        places, lines_at(paths, Places(*map(np.array, zip(*places, strict=True)))), strict=True
    ):
        assert line.decode() == f"{part} {'b' if offset else 'a'}\n"
        assert path == paths[part]
        assert open_files() <= before + 33
    assert open_files() == before
