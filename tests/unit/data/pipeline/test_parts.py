import os
from pathlib import Path

import pytest

from jielong.core.errors import RunDirectoryError
from jielong.data.pipeline import parts
from jielong.data.pipeline.parts import Part
from jielong.data.readers.find import find


def planned(folder: Path) -> list[Part]:
    return parts.group_files("files", find([str(folder)]))


def test_a_plan_knows_a_file_that_changed_in_its_place(tmp_path: Path) -> None:
    file, plan = tmp_path / "texts" / "a.txt", tmp_path / "plan.jsonl"
    file.parent.mkdir()
    file.write_text("春风化雨", encoding="utf-8")
    parts.fix(plan, planned(file.parent))
    parts.fix(plan, planned(file.parent))
    file.write_text("雨过天晴", encoding="utf-8")  # as many bytes as before
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1_000_000_000))
    with pytest.raises(RunDirectoryError, match="the files to read have changed"):
        parts.fix(plan, planned(file.parent))


def test_a_plan_knows_another_python(tmp_path: Path) -> None:
    parts.fix(tmp_path / "plan.jsonl", [Part(source="stdlib", version="3.11.2")])
    with pytest.raises(RunDirectoryError, match="the files to read have changed"):
        parts.fix(tmp_path / "plan.jsonl", [Part(source="stdlib", version="3.11.7")])
