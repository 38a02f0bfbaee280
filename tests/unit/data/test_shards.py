from pathlib import Path

import numpy as np
import pytest

from jielong.core.errors import DataError
from jielong.data.shards import Shard, join, window_rows


def shard() -> Shard:
    return Shard.pack([[7, 8], [], [9]], 1, ["zh", "en", "en"], [6, 0, 1])


def test_documents_stand_one_after_the_other_each_after_bos() -> None:
    packed = shard()
    assert packed.tokens.tolist() == [1, 7, 8, 1, 1, 9]
    assert packed.starts.tolist() == [0, 3, 4]
    assert packed.languages.tolist() == ["zh", "en", "en"]
    assert packed.text_bytes.tolist() == [6, 0, 1]


def test_a_shard_comes_back_from_disk(tmp_path: Path) -> None:
    shard().save(tmp_path / "train.npz")
    read = Shard.load(tmp_path / "train.npz")
    for name, value in vars(shard()).items():
        assert np.array_equal(getattr(read, name), value), name


def test_parts_are_joined_in_order(tmp_path: Path) -> None:
    other = Shard.pack([[70_000]], 1, ["zh"], [3])
    join([shard(), other], tmp_path / "train.npz")
    whole = Shard.load(tmp_path / "train.npz")
    assert whole.tokens.tolist() == [1, 7, 8, 1, 1, 9, 1, 70_000]
    assert whole.starts.tolist() == [0, 3, 4, 6]
    assert whole.languages.tolist() == ["zh", "en", "en", "zh"]
    assert whole.text_bytes.tolist() == [6, 0, 1, 3]


def test_ids_that_are_mapped_take_no_memory(tmp_path: Path) -> None:
    shard().save(tmp_path / "train.npz")
    assert isinstance(Shard.load(tmp_path / "train.npz").tokens, np.memmap)


def test_a_phase_takes_documents_in_its_own_order(tmp_path: Path) -> None:
    shard().save_taken(np.array([2, 0, 2]), tmp_path / "phase.npz")
    taken = Shard.load(tmp_path / "phase.npz")
    assert taken.tokens.tolist() == [1, 9, 1, 7, 8, 1, 9]
    assert taken.starts.tolist() == [0, 2, 5]
    assert taken.languages.tolist() == ["en", "zh", "en"]
    assert taken.text_bytes.tolist() == [1, 6, 1]


def test_an_empty_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no documents"):
        join([Shard.pack([], 1, [], [])], tmp_path / "train.npz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["missing", "cut", "text", "other", "ids", "cut ids"])
def test_a_damaged_shard_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "train.npz"
    if damage == "cut":
        shard().save(path)
        path.write_bytes(path.read_bytes()[:300])
    elif damage == "text":
        path.write_text("no archive")
    elif damage == "other":
        np.savez(path, something=np.zeros(3))
    elif damage == "ids":
        shard().save(path)
        Shard.pack([[5]], 1, ["zh"], [1]).save(tmp_path / "small.npz")
        (tmp_path / "small.npy").replace(tmp_path / "train.npy")
    elif damage == "cut ids":
        shard().save(path)
        ids = path.with_suffix(".npy")
        ids.write_bytes(ids.read_bytes()[:-4])
    with pytest.raises(DataError, match=r"train\.npz: not a token shard"):
        Shard.load(path)


def test_windows_are_a_pure_function_of_seed_and_step() -> None:
    tokens = np.arange(1000, dtype=np.uint16)
    one, again = (window_rows(tokens, 10, 4, 3, 7) for _ in range(2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, window_rows(tokens, 10, 4, 4, 7))
    assert not np.array_equal(one, window_rows(tokens, 10, 4, 3, 8))
    steps = np.concatenate([window_rows(tokens, 10, 2, 3, step) for step in (4, 5)])
    assert np.array_equal(steps, window_rows(tokens, 10, 4, 3, 2))  # however they are batched


def test_windows_are_pieces_of_the_text() -> None:
    rows = window_rows(np.arange(1000, dtype=np.uint16), 10, 50, 0, 0)
    assert np.array_equal(rows, rows[:, :1] + np.arange(10))
    assert rows.dtype == np.int64


def test_an_epoch_sees_every_token_once_but_at_its_ends() -> None:
    tokens = np.arange(1003, dtype=np.uint16)
    count = len(window_rows(tokens, 10, 99, 0, 0))
    offsets = set()
    for epoch in range(6):
        seen = window_rows(tokens, 10, count, 0, epoch).flatten()
        assert len(set(seen.tolist())) == 990
        assert seen.max() - seen.min() == 989
        offsets.add(int(seen.min()))
    assert len(offsets) > 2  # each epoch cuts elsewhere


def test_a_corpus_too_short_is_refused() -> None:
    with pytest.raises(DataError, match="19 tokens, too few for windows of 10"):
        window_rows(np.arange(19, dtype=np.uint16), 10, 1, 0, 0)
    assert window_rows(np.arange(25, dtype=np.uint16), 10, 1, 0, 0).shape == (1, 10)
