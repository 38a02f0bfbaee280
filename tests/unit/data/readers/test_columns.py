"""Parquet and saved data sets; the folders have the form that `datasets` gives them."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from jielong.core.errors import DataError
from jielong.data.documents import Document, Rejected
from jielong.data.readers.find import find
from jielong.data.readers.options import FileOptions
from jielong.data.readers.records import records

TALK = [{"role": "user", "content": "在吗"}, {"role": "assistant", "content": "在的。"}]


def save_dataset(folder: Path, *tables: pa.Table) -> None:
    folder.mkdir(parents=True)
    names = [f"data-{i:05}-of-{len(tables):05}.arrow" for i in range(len(tables))]
    for name, table in zip(names, tables, strict=True):
        with pa.ipc.new_stream(str(folder / name), table.schema) as writer:
            writer.write_table(table, max_chunksize=2)
    state = {"_data_files": [{"filename": name} for name in names], "_split": "train"}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text("{}")


def write(path: Path, table: pa.Table, kind: str) -> Path:
    if kind == "parquet":
        pyarrow.parquet.write_table(table, path / "a.parquet", row_group_size=3)
        return path / "a.parquet"
    save_dataset(path / "a.parquet", table.slice(0, 3), table.slice(3))
    return path / "a.parquet"


def read(path: Path, **settings: object) -> tuple[list[tuple[str, str]], list[tuple[int, str]]]:
    documents, rejected = [], []
    for file in find([str(path)]):
        for record in records(file, FileOptions(**settings)):  # type: ignore[arg-type]
            if isinstance(record, Document):
                documents.append((record.key, record.text))
            else:
                rejected.append((record.offset, record.reason))
    return documents, rejected


@pytest.mark.parametrize("kind", ["parquet", "dataset"])
def test_rows_are_read_in_order_and_bad_ones_rejected(tmp_path: Path, kind: str) -> None:
    texts = ["一", None, "three", "", "five"]
    table = pa.table({"id": range(5), "text": texts, "more": [[1]] * 5})
    path = write(tmp_path, table, kind)
    assert read(path) == (
        [("a.parquet/0/0", "一"), ("a.parquet/2/0", "three"), ("a.parquet/4/0", "five")],
        [(1, "'text' is no string"), (3, "the text is empty")],
    )
    assert read(path, text_column="id")[1][0] == (0, "'id' is no string")
    expected = r"a\.parquet: no column 'body': set text_column to one of 'id', 'text', 'more'$"
    with pytest.raises(DataError, match=expected):
        read(path, text_column="body")


@pytest.mark.parametrize("kind", ["parquet", "dataset"])
@pytest.mark.parametrize("type_", [pa.string(), pa.large_string(), pa.string_view()])
def test_any_type_of_string_will_do(tmp_path: Path, kind: str, type_: pa.DataType) -> None:
    table = pa.table({"text": pa.array(["文字", "b"], type_)})
    assert [text for _, text in read(write(tmp_path, table, kind))[0]] == ["文字", "b"]


@pytest.mark.parametrize("kind", ["parquet", "dataset"])
def test_a_column_of_chats_is_read(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, pa.table({"messages": [TALK, TALK[:1]]}), kind)
    assert [text for _, text in read(path)[0]] == ["在吗\n\n在的。", "在吗"]


@pytest.mark.parametrize("kind", ["parquet", "dataset"])
@pytest.mark.parametrize("column", ["text", "messages"])
def test_a_row_over_the_limit_is_rejected(tmp_path: Path, kind: str, column: str) -> None:
    texts = ["a", "字" * 333, "字" * 334, "x" * 1001, "b"]
    rows = texts if column == "text" else [[{"role": "user", "content": text}] for text in texts]
    documents, rejected = read(write(tmp_path, pa.table({column: rows}), kind), max_record_mb=0.001)
    assert [text for _, text in documents] == ["a", "字" * 333, "b"]
    assert rejected == [(n, "a row of more than 1,000 bytes") for n in (2, 3)]


def test_large_rows_are_not_held_together(tmp_path: Path) -> None:
    text = ["x" * 400_000 + str(number) for number in range(64)]  # 25.6 MB in one row group
    table = pa.table({"text": text, "text.more": ["y"] * 64})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet", use_dictionary=False)
    del text, table
    [file] = find([str(tmp_path / "a.parquet")])
    pool = pa.system_memory_pool()
    before = pa.default_memory_pool()
    pa.set_memory_pool(pool)
    try:
        most = 0
        for _ in records(file, FileOptions(max_record_mb=1.0, document_bytes=500_000)):
            most = max(most, pool.bytes_allocated())
    finally:
        pa.set_memory_pool(before)
    assert 0 < most < 8e6


def test_values_that_are_no_text_are_rejected(tmp_path: Path) -> None:
    values = pa.array([2**62, 1], pa.timestamp("s"))
    documents, rejected = read(write(tmp_path, pa.table({"text": values}), "dataset"))
    assert documents == []
    assert [offset for offset, _ in rejected] == [0, 1]


def test_bytes_that_are_no_utf8_are_rejected_alone(tmp_path: Path) -> None:
    values = pa.array([b"good", b"\xff", "也好".encode()]).view(pa.string())
    documents, rejected = read(write(tmp_path, pa.table({"text": values}), "dataset"))
    assert [text for _, text in documents] == ["good", "也好"]
    assert [offset for offset, _ in rejected] == [1]


def test_a_list_of_data_sets_is_read_whole(tmp_path: Path) -> None:
    save_dataset(tmp_path / "set" / "train", pa.table({"text": ["a", "b"]}))
    save_dataset(tmp_path / "set" / "test", pa.table({"text": ["c"]}))
    (tmp_path / "set" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    expected = [("test/0/0", "c"), ("train/0/0", "a"), ("train/1/0", "b")]
    assert read(tmp_path / "set") == (expected, [])


def test_a_damaged_data_set_gives_what_came_before(tmp_path: Path) -> None:
    save_dataset(tmp_path / "a", pa.table({"text": ["a", "b"]}), pa.table({"text": ["c"]}))
    (tmp_path / "a" / "data-00001-of-00002.arrow").unlink()
    documents, [(offset, reason)] = read(tmp_path / "a")
    assert [text for _, text in documents] == ["a", "b"]
    assert offset == 2
    assert reason.startswith("not a saved data set (")
    for state in ("no JSON", "{}", "[]", '{"_data_files": [], "_indices_data_files": [1]}'):
        (tmp_path / "a" / "state.json").write_text(state)
        documents, [(offset, reason)] = read(tmp_path / "a")
        assert (documents, offset) == ([], 0)
        assert reason.startswith("not a saved data set (")


def test_a_cut_off_parquet_file_is_rejected(tmp_path: Path) -> None:
    path = write(tmp_path, pa.table({"text": ["a"] * 100}), "parquet")
    path.write_bytes(path.read_bytes()[:-10])
    [rejected] = records(find([str(path)])[0], FileOptions())
    assert isinstance(rejected, Rejected)
    assert rejected.reason.startswith("not Parquet (")
