import os
import platform
from pathlib import Path

import pytest

from jielong.core.errors import RunDirectoryError
from jielong.data import sources
from jielong.data.pipeline import parts
from jielong.data.pipeline.inputs import plan
from jielong.data.pipeline.parts import Part
from jielong.data.readers.find import find
from jielong.data.readers.options import FileOptions


def planned(folder: Path) -> list[Part]:
    return parts.group_files("files", find([str(folder)]))


def test_a_plan_knows_a_file_that_changed_in_its_place(tmp_path: Path) -> None:
    file, fixed = tmp_path / "texts" / "a.txt", tmp_path / "plan.jsonl"
    file.parent.mkdir()
    file.write_text("春风化雨", encoding="utf-8")
    parts.fix(fixed, planned(file.parent))
    parts.fix(fixed, planned(file.parent))
    file.write_text("雨过天晴", encoding="utf-8")  # as many bytes as before
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1_000_000_000))
    with pytest.raises(RunDirectoryError, match="the files to read have changed"):
        parts.fix(fixed, planned(file.parent))


def test_a_plan_knows_another_python(tmp_path: Path) -> None:
    parts.fix(tmp_path / "plan.jsonl", [Part(source="stdlib", version="3.11.2")])
    with pytest.raises(RunDirectoryError, match="the files to read have changed"):
        parts.fix(tmp_path / "plan.jsonl", [Part(source="stdlib", version="3.11.7")])


def test_what_has_no_file_is_known_by_its_version() -> None:
    [part] = plan([sources.lookup("stdlib")], {}, (), FileOptions())
    assert part == Part(source="stdlib", version=platform.python_version())
