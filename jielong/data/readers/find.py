"""From the patterns of a recipe to a fixed list of files.

A directory that is reached twice, by whatever links, is read once, so a loop of links ends.
"""

import fnmatch
import os
from collections import Counter
from collections.abc import Iterable, Iterator
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
    format: str  # "" where there is no reader for it
    compression: str = ""


@dataclass(frozen=True, order=True)
class _Found:
    through_link: bool  # the name without a link in it is the better one
    name: str
    path: Path


def find(patterns: Iterable[str]) -> list[InputFile]:
    """The files that the patterns (files, folders, globs) name, each once, in order of name.

    A file without a reader is listed with an empty format, for the record, unless a pattern names
    it outright: then, as for a pattern that leads to nothing readable, `DataError` is raised.
    """
    chosen: dict[str, _Found] = {}
    for pattern in patterns:
        found = sorted(_search(pattern))
        if not found:
            raise DataError(f"files: {pattern}: no such file: correct the path or the pattern")
        if not any(_format(one.path)[0] for one in found):
            raise DataError(
                f"files: {pattern}: {missing_reader(found[0].path)}: "
                f"give files of {', '.join(_FORMATS)}, all but the last two also as .gz or .zst"
            )
        for one in found:
            chosen.setdefault(os.path.realpath(one.path), one)
    names = _told_apart([one.path for one in chosen.values()], [o.name for o in chosen.values()])
    files = []
    for one, name in zip(chosen.values(), names, strict=True):
        kind, compression = _format(one.path)
        files.append(InputFile(path=one.path, name=name, format=kind, compression=compression))
    return sorted(files, key=lambda file: file.name)


def missing_reader(path: Path) -> str:
    """Why a file of an unknown format cannot be read."""
    suffixes = "".join(path.suffixes[-2:] if path.suffix in _COMPRESSIONS else path.suffixes[-1:])
    return f"no reader for {suffixes or 'a file without a suffix'}"


def _format(path: Path) -> tuple[str, str]:
    """(format, compression), both empty where there is no reader."""
    if path.is_dir():
        return DATASET, ""
    suffix = path.suffix.lower()
    if suffix not in _COMPRESSIONS:
        return _FORMATS.get(suffix, ""), ""
    inner = _FORMATS.get(Path(path.stem).suffix.lower(), "")
    return ("", "") if inner in ("", *_COMPRESSED_ALREADY) else (inner, suffix)


def _search(pattern: str) -> Iterator[_Found]:
    path = Path(pattern).expanduser()
    if path.is_file():
        return iter([_Found(through_link=False, name=path.name, path=path)])
    if path.is_dir():
        return _walk(path, _ALL_BELOW)
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
        if place in seen or not folder.is_dir():
            continue
        seen.add(place)
        if rest[:2] == _ALL_BELOW and _is_dataset(folder):
            yield _Found(through_link, _relative(folder, base), folder)
            continue
        here, below = rest[0], rest[1:]
        if here == "**":  # which also stands for no folder at all
            (linked if through_link else direct).append((folder, below))
            below = rest
        for path in _entries(folder, here):
            is_linked = through_link or path.is_symlink()
            if below and path.is_dir():
                (linked if is_linked else direct).append((path, below))
            elif not below and (path.is_file() or _is_dataset(path)):
                yield _Found(is_linked, _relative(path, base), path)


def _entries(folder: Path, pattern: str) -> list[Path]:
    """What of a folder matches one part of a pattern; hidden names only match a leading dot."""
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - names are all that is needed
    except OSError as error:
        raise DataError(
            f"files: {folder}: cannot be listed ({error.strerror}): allow it, or leave it out"
        ) from None
    return [
        folder / name
        for name in names
        if fnmatch.fnmatchcase(name, pattern)
        and (not name.startswith(".") or pattern.startswith("."))
        and name != _DATASETS_LIST
    ]


def _is_dataset(folder: Path) -> bool:
    return all((folder / name).is_file() for name in _DATASET_FILES)


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
