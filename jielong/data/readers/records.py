"""From a file to documents, whatever its format; what cannot be read is told, and no more."""

from collections.abc import Iterable, Iterator
from contextlib import suppress

from jielong.data.clean import han_share
from jielong.data.decoding import Fault, texts
from jielong.data.documents import Document, Rejected
from jielong.data.readers import columns, html, pdf, rows
from jielong.data.readers.cut import cut
from jielong.data.readers.find import DATASET, InputFile
from jielong.data.readers.options import FileOptions
from jielong.data.readers.streams import open_bytes, reason

SOURCE = "files"
"""The source that documents of the user's own files name."""

_OF_ROWS = ("jsonl", "csv", "tsv", "parquet", DATASET)
_GUESSED_BY = 500  # characters that the language is guessed by, until it is identified


def records(file: InputFile, options: FileOptions) -> Iterator[Document | Rejected]:
    """The documents of a file in order, and where and why anything in it was not read.

    A group, which must not be torn apart, is one row of a file of rows. A file of running text is
    a corpus of its own, so each of its documents is a group.
    """
    faults: list[Fault] = []
    is_empty = True
    try:
        for number, text in _read(file, options, faults):
            name = file.name if number is None else f"{file.name}/{number}"
            for part, piece in enumerate(cut(text, options.document_bytes)):
                is_empty = False
                key = f"{name}/{part}"
                yield _document(key, key if number is None else name, piece)
            is_empty &= not faults
            yield from _rejected(file, faults)
    except OSError as error:
        faults.append(Fault(0, f"cannot be opened ({reason(error)})"))
    if is_empty and not faults:
        faults.append(Fault(0, "it holds no text"))
    yield from _rejected(file, faults)


def check(file: InputFile, options: FileOptions) -> None:
    """Read as far as a file's first row, to raise now the `DataError` that would end the run there.

    That is a column that does not exist, or a library that is missing.
    """
    if file.format in _OF_ROWS:
        with suppress(OSError):  # which costs a run only this file
            next(_read(file, options, []), None)


def _read(
    file: InputFile, options: FileOptions, faults: list[Fault]
) -> Iterator[tuple[int | None, Iterable[str]]]:
    """(row, or None where the file has none; its text in pieces) of each record of a file."""
    if not file.format:
        faults.append(Fault(0, file.fault))
    elif file.format == "pdf":
        yield None, pdf.pages(file, faults)
    elif file.format in ("parquet", DATASET):
        read = columns.parquet if file.format == "parquet" else columns.dataset
        yield from ((number, [text]) for number, text in read(file, options, faults))
    else:
        with open_bytes(file, faults) as stream:
            if file.format == "text":
                yield None, texts(stream, options.encoding, faults)
            elif file.format == "html":
                yield None, html.page(stream, options, faults)
            else:
                parse = rows.json_lines if file.format == "jsonl" else rows.separated
                found = parse(file, stream, options, faults)
                yield from ((number, [text]) for number, text in found)


def _document(key: str, group: str, text: str) -> Document:
    lang = "zh" if han_share(text[:_GUESSED_BY]) >= 0.5 else "en"
    return Document(source=SOURCE, key=key, text=text, lang=lang, group=group)


def _rejected(file: InputFile, faults: list[Fault]) -> Iterator[Rejected]:
    """The faults so far, which are thereby told."""
    found = [Rejected(file=file.name, offset=f.offset, reason=f.reason) for f in faults]
    faults.clear()
    yield from found
