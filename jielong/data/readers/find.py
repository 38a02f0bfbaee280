"""From the patterns of a recipe to a fixed list of files.

A directory that is reached twice, by whatever links, is read once, so a loop of links ends.
"""

import fnmatch
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from jielong.core.errors import DataError

DATASET = "dataset"
"""The format of a folder that the library `datasets` saved."""

_FORMATS = {
    ".txt": "text",
    ".md": "text",
    ".html": "html",
    ".htm": "html",
    ".jsonl": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pdf": "pdf",
}
_COMPRESSIONS = (".gz", ".zst")
_COMPRESSED_ALREADY = ("parquet", "pdf")
_ALL_BELOW = ("**", "*")
_DATASET_FILES = ("state.json", "dataset_info.json")
_DATASETS_LIST = "dataset_dict.json"  # it names the data sets beside it, which are found anyway


@dataclass(frozen=True, kw_only=True)
class InputFile:
    """A file to read, or a folder that is one data set."""

    path: Path
    name: str  # from the fixed part of its pattern on: the same wherever the corpus lies
    format: str  # "" where it cannot be read
    compression: str = ""
    fault: str = ""  # why it cannot be read


@dataclass(frozen=True, order=True)
class _Found:
    through_link: bool  # the name without a link in it is the better one
    name: str
    path: Path
    fault: str = ""


def find(patterns: Iterable[str]) -> list[InputFile]:
    """The files that the patterns (files, folders, globs) name, each once, in order of name.

    A file without a reader and a folder that may not be listed have an empty format, for the
    record, unless a pattern names them outright: then, as for a pattern that leads to nothing
    readable, `DataError` is raised.
    """
    chosen: dict[str, _Found] = {}
    for pattern in patterns:
        found = sorted(_search(pattern))
        if not found:
            raise DataError(f"files: {pattern}: no such file: correct the path or the pattern")
        if not any(_format(one)[0] for one in found):
            raise DataError(
                f"files: {pattern}: {_fault(found[0])}: "
                f"give files of {', '.join(_FORMATS)}, all but the last two also as .gz or .zst"
            )
        for one in found:
            chosen.setdefault(os.path.realpath(one.path), one)
    names = _told_apart([one.path for one in chosen.values()], [o.name for o in chosen.values()])
    files = []
    for one, name in zip(chosen.values(), names, strict=True):
        kind, compression = _format(one)
        file = InputFile(
            path=one.path,
            name=_as_text(name),
            format=kind,
            compression=compression,
            fault="" if kind else _fault(one),
        )
        files.append(file)
    return sorted(files, key=lambda file: file.name)


def expand_home(path: str, key: str) -> Path:
    """The path without `~`; raises `DataError`, beginning with the setting `key`."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise DataError(
            f"{key}: {path}: there is no such user's home: write the path without ~"
        ) from None


def _as_text(name: str) -> str:
    r"""A file's name with its bytes that are no text as `\xd6`, and no two names the same."""
    data = name.replace("\\", "\\\\").encode(errors="surrogateescape")
    return data.decode(errors="backslashreplace")


def _fault(found: _Found) -> str:
    """Why it cannot be read, if it has no format."""
    path = found.path
    suffixes = "".join(path.suffixes[-2:] if path.suffix in _COMPRESSIONS else path.suffixes[-1:])
    return found.fault or f"no reader for {suffixes or 'a file without a suffix'}"


def _format(found: _Found) -> tuple[str, str]:
    """(format, compression), both empty where it cannot be read."""
    path = found.path
    if found.fault:
        return "", ""
    if path.is_dir():
        return DATASET, ""
    suffix = path.suffix.lower()
    if suffix not in _COMPRESSIONS:
        return _FORMATS.get(suffix, ""), ""
    inner = _FORMATS.get(Path(path.stem).suffix.lower(), "")
    return ("", "") if inner in ("", *_COMPRESSED_ALREADY) else (inner, suffix)


def _search(pattern: str) -> Iterator[_Found]:
    path = expand_home(pattern, "files")
    try:
        if path.is_file():
            return iter([_Found(through_link=False, name=path.name, path=path)])
        if path.is_dir():
            return _walk(path, _ALL_BELOW)
    except OSError as error:
        raise _refused(path, error) from None
    magic = [any(sign in part for sign in "*?[") for part in path.parts]
    if True not in magic:
        return iter([])
    fixed = magic.index(True)
    rest = path.parts[fixed:]
    return _walk(Path(*path.parts[:fixed]), rest if rest[-1] != "**" else (*rest, "*"))


def _walk(base: Path, pattern: tuple[str, ...]) -> Iterator[_Found]:
    """All files below `base` whose path from there matches `pattern`, a part for each folder."""
    seen: set[tuple[str, tuple[str, ...]]] = set()
    direct = [(base, pattern)]
    linked: list[tuple[Path, tuple[str, ...]]] = []
    while direct or linked:
        through_link = not direct
        folder, rest = (direct or linked).pop()
        place = (os.path.realpath(folder), rest)
        if place in seen or not os.path.isdir(folder):  # noqa: PTH112 - which raises nothing
            continue
        seen.add(place)
        if rest[:2] == _ALL_BELOW and _is_dataset(folder):
            yield _Found(through_link, _relative(folder, base), folder)
            continue
        here, below = rest[0], rest[1:]
        if here == "**":  # which also stands for no folder at all
            (linked if through_link else direct).append((folder, below))
            below = rest
        try:
            for path in _entries(folder, here):
                is_linked = through_link or path.is_symlink()
                if below and path.is_dir():
                    (linked if is_linked else direct).append((path, below))
                elif not below and (path.is_file() or _is_dataset(path)):
                    yield _Found(is_linked, _relative(path, base), path)
        except OSError as error:
            if folder == base:
                raise _refused(folder, error) from None
            fault = f"this folder cannot be read ({error.strerror})"
            yield _Found(through_link, _relative(folder, base), folder, fault)


def _refused(path: Path, error: OSError) -> DataError:
    return DataError(f"files: {path}: cannot be read ({error.strerror}): allow it, or leave it out")


def _entries(folder: Path, pattern: str) -> list[Path]:
    """What of a folder matches one part of a pattern; hidden names only match a leading dot."""
    names = sorted(os.listdir(folder))  # noqa: PTH208 - names are all that is needed
    return [
        folder / name
        for name in names
        if fnmatch.fnmatchcase(name, pattern)
        and (not name.startswith(".") or pattern.startswith("."))
        and name != _DATASETS_LIST
    ]


def _is_dataset(folder: Path) -> bool:
    with suppress(OSError):
        return all((folder / name).is_file() for name in _DATASET_FILES)
    return False


def _relative(path: Path, base: Path) -> str:
    return path.resolve().name if path == base else path.relative_to(base).as_posix()


def _told_apart(paths: list[Path], names: list[str]) -> list[str]:
    """The names, those that occur twice lengthened by the folders above until none does."""
    parts = [path.absolute().parts for path in paths]
    lengths = [name.count("/") + 1 for name in names]
    while True:
        counts = Counter(names)
        repeated = [i for i, name in enumerate(names) if counts[name] > 1]
        if not repeated:
            return names
        for i in repeated:
            lengths[i] += 1
            names[i] = "/".join(parts[i][-lengths[i] :])
