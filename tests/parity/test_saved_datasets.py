"""Folders that the library `datasets` writes are read as that library reads them."""

from pathlib import Path

import pytest

from jielong.data.documents import Document
from jielong.data.readers.find import find
from jielong.data.readers.options import FileOptions
from jielong.data.readers.records import records
from tests.sentences import sentences


@pytest.mark.parity
def test_a_saved_data_set_holds_the_same_rows(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict, load_from_disk

    lines = [line for line, _ in zip(sentences("SIMPLIFIED"), range(700), strict=False)]
    talks = [[{"role": "user", "content": line}] for line in lines]
    whole = Dataset.from_dict({"id": list(range(700)), "text": lines, "messages": talks})
    chosen = whole.filter(lambda row: row["id"] % 3 != 0).shuffle(seed=1)
    DatasetDict({"a": whole, "b": chosen}).save_to_disk(
        tmp_path / "set", num_shards={"a": 3, "b": 1}
    )

    for column in ("text", "messages"):
        options = FileOptions(text_column=column)
        found: dict[str, list[str]] = {"a": [], "b": []}
        for file in find([str(tmp_path / "set")]):
            for record in records(file, options):
                assert isinstance(record, Document)
                found[file.name].append(record.text)
        for name, expected in load_from_disk(str(tmp_path / "set")).items():
            assert found[name] == list(expected["text"])
