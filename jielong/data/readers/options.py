"""What a recipe may say about the user's own files."""

import codecs
from dataclasses import dataclass

from jielong.core.config import check_positive

_NOT_OF_FILES = ("idna", "raw-unicode-escape")  # but of host names and of Python's source code


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """How files are read; the defaults suit running text in any common encoding."""

    text_column: str = "text"  # of JSONL, CSV, Parquet and Hugging Face data sets
    licence: str = "unknown: the user's own"
    document_bytes: int = 4000  # longer text is cut into documents of about that size
    encoding: str = "auto"
    max_record_mb: float = 16.0  # a longer row, line of JSONL or HTML page is rejected

    def __post_init__(self) -> None:
        check_positive(self, "document_bytes", "max_record_mb")
        if self.encoding != "auto" and not _cuts_into_lines(self.encoding):
            raise ValueError(f"encoding: {self.encoding!r}: 'auto' or a codec such as 'gb18030'")

    @property
    def max_record_bytes(self) -> int:
        """The limit of one record in bytes."""
        return int(self.max_record_mb * 1e6)


def _cuts_into_lines(encoding: str) -> bool:
    """Whether this is a codec of text whose newline is one that lines are told by."""
    try:
        name = codecs.lookup(encoding).name
        is_ascii = "\n".encode(encoding) == b"\n" and name not in _NOT_OF_FILES
        return is_ascii or name.startswith(("utf-16", "utf-8"))
    except (LookupError, UnicodeError):
        return False
