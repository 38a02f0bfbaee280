"""Every format, from a real file to documents."""

import gzip
import json
import os
import tracemalloc
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pytest

from jielong.core.errors import DataError
from jielong.data.documents import Document, Rejected
from jielong.data.readers.find import find
from jielong.data.readers.options import FileOptions
from jielong.data.readers.records import check, records
from tests.sentences import sentences

ZSTD_ERROR = "cannot be read on (ZSTD decompress failed: Unknown frame descriptor)"


def read(path: Path, **settings: object) -> tuple[list[Document], list[Rejected]]:
    found = [
        record
        for file in find([str(path)])
        for record in records(file, FileOptions(**settings))  # type: ignore[arg-type]
    ]
    documents = [record for record in found if isinstance(record, Document)]
    return documents, [record for record in found if isinstance(record, Rejected)]


def zstd(data: bytes) -> bytes:
    return pa.compress(data, codec="zstd", asbytes=True)


def test_running_text_is_cut_into_documents_that_stand_alone(tmp_path: Path) -> None:
    paragraph = "。".join(islice(sentences("SIMPLIFIED"), 20))
    (tmp_path / "a.txt").write_text(f"\ufeff我的日记。\r\n\r\n{paragraph}\r\n\r\nIn English.\n")
    (tmp_path / "b.md").write_text("# My notes\n\nToday I wrote a little.")
    documents, rejected = read(tmp_path, document_bytes=1000)
    assert rejected == []
    assert {d.source for d in documents} == {"files"}
    assert [d.key for d in documents] == [
        *(f"a.txt/{i}" for i in range(len(documents) - 1)),
        "b.md/0",
    ]
    assert [d.group for d in documents] == [d.key for d in documents]
    assert {d.lang for d in documents[:-1]} == {"zh"}
    assert documents[-1].lang == "en"
    assert documents[-1].text == "# My notes\n\nToday I wrote a little."
    assert documents[0].text.startswith("我的日记。\n\n")
    assert all(d.size_bytes <= 1000 for d in documents)
    whole = "".join(d.text for d in documents[:-1])
    assert whole.replace("\n", "") == f"我的日记。{paragraph}In English."


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "utf-16"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "第一行，写的是昨天的事情。\n"),
        ("a.html", "<nav>目录</nav><p>第一行，写的是昨天的事情。</p>"),
        ("a.jsonl", '{"text": "第一行，写的是昨天的事情。"}\n'),
        ("a.csv", "number,text\r\n1,第一行，写的是昨天的事情。\r\n"),
        ("a.tsv", "text\tnumber\n第一行，写的是昨天的事情。\t1\n"),
    ],
)
def test_formats_compressions_and_encodings_go_together(
    tmp_path: Path, name: str, content: str, encoding: str, suffix: str
) -> None:
    data = content.encode(encoding)
    packed = {"": bytes, ".gz": gzip.compress, ".zst": zstd}[suffix](data)
    (tmp_path / f"{name}{suffix}").write_bytes(packed)
    documents, rejected = read(tmp_path / f"{name}{suffix}")
    assert rejected == []
    assert [d.text for d in documents] == ["第一行，写的是昨天的事情。"]


def test_a_row_is_a_group_and_a_long_one_is_cut(tmp_path: Path) -> None:
    rows = [{"text": "short"}, {"text": "长长的文字。" * 100}, {"text": "last", "more": [1]}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    documents, _ = read(tmp_path / "a.jsonl", document_bytes=1000)
    assert [(d.group, d.key) for d in documents] == [
        ("a.jsonl/0", "a.jsonl/0/0"),
        ("a.jsonl/1", "a.jsonl/1/0"),
        ("a.jsonl/1", "a.jsonl/1/1"),
        ("a.jsonl/2", "a.jsonl/2/0"),
    ]
    assert len({d.id for d in documents}) == 4


def test_a_chat_becomes_a_document(tmp_path: Path) -> None:
    talk = [{"role": "user", "content": "你好\n"}, {"role": "assistant", "content": "你好！"}]
    (tmp_path / "a.jsonl").write_text(json.dumps({"messages": talk}))
    [document] = read(tmp_path / "a.jsonl")[0]
    assert document.text == "你好\n\n你好！"


def test_bad_rows_are_rejected_at_their_place_and_the_rest_is_read(tmp_path: Path) -> None:
    lines = [
        b'{"text": "one"}',
        b'{"text": "half',
        b"[1, 2]",
        b'{"text": null}',
        b'{"text": " "}',
        b'{"body": "x"}',
        b'{"text": "\\ud800"}',
        b'{"messages": [{"content": 1}]}',
        b'{"messages": {"a": 1}}',
        b'{"messages": ["hello"]}',
        b"[" * 200_000,
        b'{"text": "' + b"x" * 300_000 + b'"}',
        b'{"text": "\xff"}',
        b"",
        b'{"text": "x", "n": ' + b"1" * 5000 + b"}",
        b'{"text": "two"}',
    ]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    documents, rejected = read(tmp_path / "a.jsonl", max_record_mb=0.25)
    assert [(d.key, d.text) for d in documents] == [("a.jsonl/0/0", "one"), ("a.jsonl/12/0", "two")]
    starts = [len(b"\n".join(lines[:i])) + 1 for i in range(1, 15)]
    starts[11] += lines[12].index(b"\xff")
    assert [r.offset for r in rejected] == [*starts[:12], starts[13]]
    assert {r.file for r in rejected} == {"a.jsonl"}
    assert [r.reason for r in rejected] == [
        "not JSON (Unterminated string starting at)",
        "not an object with columns",
        "'text' is no string",
        "the text is empty",
        "no column 'text'",
        "'text' holds half a character",
        "'messages': the content of message 0 is no string",
        "'messages' is no string",
        "'messages': message 0 is not an object with a content",
        rejected[9].reason,
        "a line of more than 250,000 bytes",
        "not utf-8 (invalid start byte)",
        "not JSON (Exceeds the limit (4300 digits) for integer string conversion)",
    ]
    assert "recursion" in rejected[9].reason


def test_csv_rows_may_hold_line_ends_and_bad_ones_are_rejected(tmp_path: Path) -> None:
    content = 'id,text\r\n1,"two\r\nlines, ""quoted"""\r\n\r\n2,too,many\r\n'
    content += '3,"odd"quote\r\n4,fine\r\n5,"open\n'
    (tmp_path / "a.csv").write_bytes(content.encode())
    documents, rejected = read(tmp_path / "a.csv")
    assert [(d.key, d.text) for d in documents] == [
        ("a.csv/0/0", 'two\r\nlines, "quoted"'),
        ("a.csv/3/0", "fine"),
    ]
    assert [r.offset for r in rejected] == [content.index(f"{i},") for i in ("2", "3", "5")]
    assert rejected[0].reason == "3 columns where the first row has 2"
    assert rejected[1].reason.startswith("not CSV (")


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b'"begun\nwith \xff in it\nid,"\n', "not utf-8 (invalid start byte)"),
        (b'"\xff\nquoted ""\n,,"\n', "not utf-8 (invalid start byte)"),
        (b'"' + b"x" * 3000 + b"\n,not a row\n" + b'"\n', "a line of more than 2,000 bytes"),
        (b'"x\n' + b"9,not a row\n" * 300 + b'"\n', "a row of more than 2,000 bytes"),
        (b"\xff unquoted\n", "not utf-8 (invalid start byte)"),
    ],
)
def test_a_csv_row_that_cannot_be_read_whole_is_left_out_whole(
    tmp_path: Path, bad: bytes, reason: str
) -> None:
    (tmp_path / "a.csv").write_bytes(b"id,text\n1,one\n2," + bad + b'3,"th\nree"\n4,four\n')
    documents, rejected = read(tmp_path / "a.csv", max_record_mb=0.002, encoding="utf-8")
    assert [d.text for d in documents] == ["one", "th\nree", "four"]
    assert [r.reason for r in rejected] == [reason]


def test_a_csv_row_that_nothing_ends_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'id,text\n1,one\n2,"open \xff\n3,three\n')
    documents, rejected = read(tmp_path / "a.csv", encoding="utf-8")
    assert [d.text for d in documents] == ["one"]
    assert [(r.offset, r.reason) for r in rejected] == [
        (22, "not utf-8 (invalid start byte)"),
        (14, "no quotation mark ends this row: read no further"),
    ]


def test_without_its_first_row_a_csv_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"id,text\xff\n1,one\n")
    documents, rejected = read(tmp_path / "a.csv", encoding="utf-8")
    assert documents == []
    assert [(r.offset, r.reason) for r in rejected] == [
        (7, "not utf-8 (invalid start byte)"),
        (0, "without its first row: read no further"),
    ]


def test_a_file_whose_name_is_no_text_is_read(tmp_path: Path) -> None:
    for name in (b"\xd6\xd0.txt", rb"\xd6\xd0.txt", b"\xff.png"):
        (tmp_path / os.fsdecode(name)).write_text("some text")
    documents, [rejected] = read(tmp_path)
    assert [d.key for d in documents] == [r"\\xd6\\xd0.txt/0", r"\xd6\xd0.txt/0"]
    assert len({d.id for d in documents}) == 2
    assert rejected == Rejected(file=r"\xff.png", offset=0, reason="no reader for .png")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", '{"id": 1, "body": "x"}\n'),
        ("a.csv", "id,body\n1,x\n"),
        ("a.tsv", "id\tbody\n1\tx\n"),
    ],
)
def test_an_unknown_column_is_answered_with_those_there_are(
    tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / name).write_text(content)
    expected = rf"{name}: no column 'text': set text_column to one of 'id', 'body'$"
    with pytest.raises(DataError, match=expected):
        read(tmp_path / name)
    [file] = find([str(tmp_path / name)])
    with pytest.raises(DataError, match=expected):
        check(file, FileOptions())
    check(file, FileOptions(text_column="body"))
    [document] = read(tmp_path / name, text_column="body")[0]
    assert document.text == "x"


@pytest.mark.parametrize(
    ("name", "data", "offset", "reason"),
    [
        ("a.txt", b"", 0, "it holds no text"),
        ("a.txt", b" \n\n", 0, "it holds no text"),
        ("a.txt", b"abc\0def", 3, "a zero byte, so this is no text"),
        ("a.html", b"<script>1</script>", 0, "it holds no text"),
        ("a.jsonl", b"", 0, "it holds no text"),
        ("a.csv", b"text\n", 0, "it holds no text"),
        ("a.txt.gz", b"no gzip", 0, "cannot be read on (Not a gzipped file (b'no'))"),
        ("a.txt.zst", b"no zstd", 0, ZSTD_ERROR),
    ],
)
def test_what_holds_no_text_is_rejected(
    tmp_path: Path, name: str, data: bytes, offset: int, reason: str
) -> None:
    (tmp_path / name).write_bytes(data)
    rejected = Rejected(file=name, offset=offset, reason=reason)
    assert read(tmp_path / name) == ([], [rejected])


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_packed_file_that_breaks_off_gives_what_came_before(tmp_path: Path, suffix: str) -> None:
    text = "\n".join(islice(sentences("ENGLISH"), 9000))
    packed = (gzip.compress if suffix == ".gz" else zstd)(text.encode())
    (tmp_path / f"a.txt{suffix}").write_bytes(packed[: len(packed) * 3 // 4])
    documents, [rejected] = read(tmp_path / f"a.txt{suffix}")
    found = "\n".join(d.text for d in documents)
    assert len(found) > len(text) // 4
    assert text.replace("\n", "").startswith(found.replace("\n", "")[:-1])
    assert rejected.offset >= len(found.encode()) - 4
    assert rejected.reason.startswith("cannot be read on (")


def test_a_file_without_a_reader_and_a_broken_one_do_not_stop_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_text("x")
    (tmp_path / "b.txt").write_text("fine")
    (tmp_path / "c.pdf").write_text("no pdf")
    (tmp_path / "d.parquet").write_text("no parquet")
    documents, rejected = read(tmp_path)
    assert [d.text for d in documents] == ["fine"]
    assert [Path(r.file).name for r in rejected] == ["a.xyz", "c.pdf", "d.parquet"]
    assert rejected[0].reason == "no reader for .xyz"


def test_a_file_that_goes_away_is_rejected(tmp_path: Path) -> None:
    for name in ("a.txt", "a.pdf", "a.parquet", "a.txt.zst"):
        (tmp_path / name).write_text("x")
        [file] = find([str(tmp_path / name)])
        (tmp_path / name).unlink()
        [rejected] = records(file, FileOptions())
        assert isinstance(rejected, Rejected)
        assert "No such file" in rejected.reason


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv", "a.txt.gz"])
def test_a_file_of_one_long_line_takes_little_memory(tmp_path: Path, name: str) -> None:
    data = "一行很长的文字".encode() * 100_000
    if name.endswith(".gz"):
        data = gzip.compress(data, compresslevel=1)
    (tmp_path / name).write_bytes(b"text\n" * (name == "a.csv") + data)
    del data
    [file] = find([str(tmp_path / name)])
    tracemalloc.start()
    kinds = [type(record) for record in records(file, FileOptions(max_record_mb=0.2))]
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 1.8e6
    assert kinds == ([Document] * len(kinds) if ".txt" in name else [Rejected])
    assert len(kinds) == (526 if ".txt" in name else 1)  # 2.1 MB in pieces of 3,999 bytes
