"""The user's own text files."""

from collections.abc import Iterable, Iterator
from glob import glob
from pathlib import Path

from jielong.core.errors import DataError
from jielong.data.clean import han_share, normalise
from jielong.data.documents import Document, pack

_DOCUMENT_BYTES = 4000
_SUFFIXES = (".txt", ".md")


def documents(patterns: Iterable[str]) -> Iterator[Document]:
    """Each file that a pattern finds, cut at blank lines into documents of about 4 kB."""
    for path in find(patterns):
        text = normalise(read(path))
        if not text.strip():
            raise DataError(f"{path}: byte 0: the file holds no text: remove it from files")
        for part, piece in enumerate(pack(text.split("\n\n"), _DOCUMENT_BYTES)):
            key = f"{path.as_posix()}/{part}"
            lang = "zh" if han_share(piece) >= 0.5 else "en"
            yield Document(source="files", key=key, text=piece, lang=lang, group=key)


def find(patterns: Iterable[str]) -> list[Path]:
    """The files that the patterns name, each once, in a fixed order."""
    found: set[Path] = set()
    for pattern in patterns:
        path = Path(pattern).expanduser()
        names = [path] if path.is_file() else map(Path, glob(str(path), recursive=True))  # noqa: PTH207 - also finds from the root
        files = [name for name in names if name.is_file()]
        if not files:
            raise DataError(f"files: {pattern}: no such file: correct the path or the pattern")
        for name in files:
            if name.suffix.lower() not in _SUFFIXES:
                raise DataError(f"{name}: not a .txt or .md file: narrow the pattern in files")
        found.update(files)
    return sorted(found)


def read(path: Path) -> str:
    """The text of one file; raises `DataError` at the first byte that is no text."""
    data = path.read_bytes()
    zero = data.find(b"\0")
    if zero >= 0:
        raise DataError(f"{path}: byte {zero}: a zero byte, so not a text file: remove it")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: byte {error.start}: not UTF-8 ({error.reason}): save the file as UTF-8"
        ) from None
