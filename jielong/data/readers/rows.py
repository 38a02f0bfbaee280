"""Files of one record a row: JSON Lines, CSV and TSV, and the text of a record."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jielong.core.errors import DataError
from jielong.data.decoding import ByteStream, Fault, Line, lines
from jielong.data.readers.find import InputFile
from jielong.data.readers.options import FileOptions

CHAT = "messages"
"""The column of a chat, which is read where there is no column of text."""


class NoTextError(Exception):
    """A record of which no text can be taken, and why."""


class _UnreadableRowError(Exception):
    """A row of which a line was left out, which is told already, or that is too long."""


def json_lines(
    file: InputFile, stream: ByteStream, options: FileOptions, faults: list[Fault]
) -> Iterator[tuple[int, str]]:
    """(number, text) of each row of a JSON Lines file."""
    number, columns_are_right = -1, False
    for line in lines(stream, options.encoding, faults, options.max_record_bytes):
        if line.is_left_out or not line.text.strip():
            continue
        number += 1
        try:
            row = json.loads(line.text.rstrip("\r\n"))
            if not columns_are_right and isinstance(row, dict):
                check_columns(file, list(row), options)
                columns_are_right = True
            text = row_text(row, options.text_column)
        except json.JSONDecodeError as error:
            faults.append(Fault(line.offset, f"not JSON ({error.msg})"))
        except ValueError as error:  # a number of thousands of digits
            faults.append(Fault(line.offset, f"not JSON ({str(error).partition(':')[0]})"))
        except (NoTextError, RecursionError) as error:
            faults.append(Fault(line.offset, str(error)))
        else:
            yield number, text


def separated(
    file: InputFile, stream: ByteStream, options: FileOptions, faults: list[Fault]
) -> Iterator[tuple[int, str]]:
    """(number, text) of each row of a CSV or TSV file, whose first row names the columns."""
    delimiter = "\t" if file.format == "tsv" else ","
    # The limit is the whole process's, but every reader here sets the one of its recipe.
    csv.field_size_limit(options.max_record_bytes)
    found = lines(stream, options.encoding, faults, options.max_record_bytes)
    feed = _Feed(found, options.max_record_bytes)
    rows = csv.reader(feed, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    number = -1
    while True:
        feed.begin_row()
        try:
            row = next(rows)
        except StopIteration:
            return
        except (csv.Error, _UnreadableRowError) as error:
            if isinstance(error, csv.Error):
                faults.append(Fault(feed.row_offset, f"not {file.format.upper()} ({error})"))
            else:
                faults += [Fault(feed.row_offset, str(error))] if str(error) else []
                if not feed.skip_row():
                    reason = "no quotation mark ends this row: read no further"
                    faults.append(Fault(feed.row_offset, reason))
            if header is None:
                faults.append(Fault(feed.row_offset, "without its first row: read no further"))
                return
            number += 1
            continue
        if header is None and row:
            header = [name.strip() for name in row]
            check_columns(file, header, options, or_chat=False)
        elif row:
            number += 1
            try:
                yield number, _cell_text(row, header or [], options.text_column)
            except NoTextError as error:
                faults.append(Fault(feed.row_offset, str(error)))


def check_columns(
    file: InputFile, columns: Sequence[str], options: FileOptions, *, or_chat: bool = True
) -> None:
    """Refuse a file without the wanted column (or a chat's), naming those that it has."""
    if options.text_column not in columns and not (or_chat and CHAT in columns):
        raise DataError(
            f"{file.path}: no column {options.text_column!r}: set text_column to one of "
            f"{', '.join(map(repr, columns)) or 'them: there are none'}"
        )


def row_text(row: Any, column: str) -> str:  # noqa: ANN401 - whatever a row was
    """The text of one record; raises `NoTextError` where there is none."""
    if not isinstance(row, Mapping):
        raise NoTextError("not an object with columns")
    name = column if column in row else CHAT
    if name not in row:
        raise NoTextError(f"no column {column!r}")
    value = row[name]
    text = _chat_text(value, name) if isinstance(value, list) else _string(value, repr(name))
    if not text.strip():
        raise NoTextError("the text is empty")
    return text


def _chat_text(messages: list[Any], name: str) -> str:
    """The turns of a chat with a blank line between them."""
    turns = []
    for place, message in enumerate(messages):
        if not isinstance(message, Mapping):
            raise NoTextError(f"{name!r}: message {place} is not an object with a content")
        turns.append(_string(message.get("content"), f"{name!r}: the content of message {place}"))
    return "\n\n".join(turn.strip("\n") for turn in turns if turn.strip())


def _string(value: Any, where: str) -> str:  # noqa: ANN401 - whatever stood there
    if not isinstance(value, str):
        raise NoTextError(f"{where} is no string")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise NoTextError(f"{where} holds half a character") from None
    return value


def _cell_text(row: Sequence[str], header: Sequence[str], column: str) -> str:
    if len(row) != len(header):
        raise NoTextError(f"{len(row)} columns where the first row has {len(header)}")
    return row_text({column: row[header.index(column)]}, column)


class _Feed:
    """Lines for the CSV parser, which remembers where the row that it is reading began.

    A row that cannot be read whole ends the parser's work on it; `skip_row` then leads to the line
    behind its closing quotation mark, so that its rest is not taken for rows.
    """

    def __init__(self, found: Iterator[Line], most_bytes: int) -> None:
        self._found = found
        self._most_bytes = most_bytes
        self._is_first = True
        self._is_open = False  # whether the last line ended within quotation marks
        self.row_offset = 0

    def begin_row(self) -> None:
        self._is_first = True

    def skip_row(self) -> bool:
        """Whether there was an end to skip to."""
        return not self._is_open or any(line.text.count('"') % 2 for line in self._found)

    def __iter__(self) -> "_Feed":
        return self

    def __next__(self) -> str:
        line = next(self._found)
        # The parser asks for a second line only within quotation marks.
        self._is_open = self._is_first == (line.text.count('"') % 2 == 1)
        if self._is_first:
            self.row_offset, self._is_first = line.offset, False
        if line.is_left_out:
            raise _UnreadableRowError
        if line.end - self.row_offset > self._most_bytes:
            raise _UnreadableRowError(f"a row of more than {self._most_bytes:,} bytes")
        return line.text
