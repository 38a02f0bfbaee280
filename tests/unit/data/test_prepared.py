import json
from pathlib import Path

import pytest

from jielong.core.errors import DataError, RunDirectoryError
from jielong.data.prepared import document_files, open_prepared, read_lines
from tests.corpus import documents, write_lines, write_prepared


def test_a_run_is_found_in_a_quickstart_too(tmp_path: Path) -> None:
    run = write_prepared(tmp_path / "quick" / "prepare")
    (tmp_path / "quick" / "manifest.json").write_text('{"stage": "quickstart", "finished": true}')
    assert open_prepared(run).path == open_prepared(run.parent).path == run
    assert [path.name for path in document_files(open_prepared(run))] == [
        "train.jsonl",
        "valid.jsonl",
    ]


def test_what_is_no_prepare_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="not a run directory"):
        open_prepared(tmp_path)
    run = write_prepared(tmp_path / "prepare", stage="sft")
    with pytest.raises(RunDirectoryError, match="is a sft run"):
        open_prepared(run)
    unfinished = write_prepared(tmp_path / "half", finished=False)
    with pytest.raises(RunDirectoryError, match="has not finished"):
        open_prepared(unfinished)


def test_a_run_without_documents_is_named(tmp_path: Path) -> None:
    run = open_prepared(write_prepared(tmp_path / "run"))
    for path in document_files(run):
        path.unlink()
    with pytest.raises(DataError, match=r"documents: holds no \.jsonl file"):
        document_files(run)


def test_lines_know_their_place(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    records = [*documents()["train"], {"text": "a\u2028b 接"}]
    write_lines(path, records)
    data = path.read_bytes()
    lines = list(read_lines(path))
    assert [line.record for line in lines] == records
    assert [line.number for line in lines] == list(range(1, len(records) + 1))
    assert [json.loads(data[line.offset : line.end]) for line in lines] == records
    assert next(read_lines(path, offset=lines[7].offset)).record == records[7]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "Expecting"),
        ("[]", "indices"),
        ("3", "subscriptable"),
        ("{}", "'text'"),
        ('{"text": 3}', "text is no text"),
        ("[" * 100_000, "recursion"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"text": ""}}\n{line}\n')
    with pytest.raises(DataError, match=rf"a\.jsonl:2: damaged \(.*{reason}.*\): run prepare anew"):
        list(read_lines(path, ("text",)))
