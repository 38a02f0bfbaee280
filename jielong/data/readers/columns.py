"""Parquet files, and the folders that the library `datasets` saves, read with pyarrow alone."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jielong.core.optional import load
from jielong.data.decoding import Fault
from jielong.data.readers.find import InputFile
from jielong.data.readers.options import FileOptions
from jielong.data.readers.rows import CHAT, NoTextError, check_columns, row_text
from jielong.data.readers.streams import reason

_MOST_ROWS = 256  # that are read at a time, where they are small
_NOT_AS_SAVED = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
)  # of a list of files that is none


def parquet(
    file: InputFile, options: FileOptions, faults: list[Fault]
) -> Iterator[tuple[int, str]]:
    """(number, text) of each row of a Parquet file."""
    arrow = load("pyarrow", "reading .parquet")
    module = load("pyarrow.parquet", "reading .parquet")
    number = 0
    try:
        # A row group may be as large as the file, so neither is held: pages are read in turn.
        with module.ParquetFile(file.path, buffer_size=1 << 20, pre_buffer=False) as table:
            column = _column(file, table.schema_arrow.names, options)
            rows = _rows_at_a_time(table.metadata, column, options.max_record_bytes)
            for batch in table.iter_batches(rows, columns=[column]):
                yield from _texts(batch.column(0), number, column, options, faults)
                number += batch.num_rows
    except (arrow.ArrowException, OSError) as error:
        faults.append(Fault(number, f"not Parquet ({reason(error)})"))


def _rows_at_a_time(metadata: Any, column: str, most_bytes: int) -> int:  # noqa: ANN401 - pyarrow's
    """So few rows that they take little more than one of the largest that are allowed."""
    largest = 1.0  # bytes of a row, the mean of its row group
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        chunks = map(group.column, range(group.num_columns))
        size = sum(
            chunk.total_uncompressed_size
            for chunk in chunks
            if f"{chunk.path_in_schema}.".startswith(f"{column}.")
        )
        largest = max(largest, size / max(group.num_rows, 1))
    return max(1, min(_MOST_ROWS, int(most_bytes / largest)))


def dataset(
    file: InputFile, options: FileOptions, faults: list[Fault]
) -> Iterator[tuple[int, str]]:
    """(number, text) of each row of a folder written by `Dataset.save_to_disk`."""
    arrow = load("pyarrow", "reading a data set folder")
    number = 0
    try:
        for path in _arrow_files(file.path):
            with arrow.memory_map(str(path)) as source, arrow.ipc.open_stream(source) as batches:
                column = _column(file, batches.schema.names, options)
                for batch in batches:
                    yield from _texts(batch.column(column), number, column, options, faults)
                    number += batch.num_rows
    except (arrow.ArrowException, OSError, *_NOT_AS_SAVED) as error:
        faults.append(Fault(number, f"not a saved data set ({reason(error)})"))


def _arrow_files(folder: Path) -> list[Path]:
    """The files that hold the rows, in order."""
    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    if state.get("_indices_data_files"):  # as versions before 2.0 left them
        raise ValueError("its rows are chosen by an index: save it again, flattened")
    return [folder / Path(part["filename"]).name for part in state["_data_files"]]


def _column(file: InputFile, names: list[str], options: FileOptions) -> str:
    check_columns(file, names, options)
    return options.text_column if options.text_column in names else CHAT


def _texts(
    values: Any,  # noqa: ANN401 - an array of pyarrow, which is loaded only when it is needed
    first: int,
    column: str,
    options: FileOptions,
    faults: list[Fault],
) -> Iterator[tuple[int, str]]:
    for number, value in enumerate(values, first):
        try:
            text = row_text({column: value.as_py()}, options.text_column)
        except (NoTextError, ValueError, OverflowError) as error:  # of a value that is no text
            faults.append(Fault(number, reason(error)))
            continue
        if len(text.encode()) > options.max_record_bytes:
            faults.append(Fault(number, f"a row of more than {options.max_record_bytes:,} bytes"))
        else:
            yield number, text
