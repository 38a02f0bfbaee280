import pytest

from jielong.core import json_lines
from jielong.core.errors import DataError


def test_values_come_with_their_place_and_blank_lines_are_passed_over(tmp_path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes('\ufeff{"a": "x\u2028y"}\r\n\n[1]'.encode())
    assert list(json_lines.read(path)) == [(f"{path}:1", {"a": "x\u2028y"}), (f"{path}:3", [1])]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"a": 1}\n{"a": ', ":2: not JSON"),
        (b'{"a": NaN}', ":1: not JSON (NaN is no number)"),
        (b'"\\ud800"', ":1: holds half a character"),
        (b"\xff\xfe\x00", ": not UTF-8 text"),
        (b"[" * 100_000, ":1: not JSON"),
    ],
)
def test_what_cannot_be_read_is_one_clear_line(data: bytes, message: str, tmp_path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(data)
    with pytest.raises(DataError) as error:
        list(json_lines.read(path))
    assert str(error.value).startswith(f"{path}{message}")
    assert "\n" not in str(error.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path) -> None:
    with pytest.raises(DataError, match="no such file"):
        list(json_lines.read(tmp_path / "none.jsonl"))
    with pytest.raises(DataError, match="cannot be read"):
        list(json_lines.read(tmp_path))
