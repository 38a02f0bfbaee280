"""The input of a run: pinned sources and the user's files, as parts and as their reader."""

import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jielong.data import archives, sources
from jielong.data.documents import Document, Rejected
from jielong.data.extract import corpus
from jielong.data.pipeline.parts import Part, group_files
from jielong.data.readers.find import find
from jielong.data.readers.options import FileOptions
from jielong.data.readers.records import SOURCE as FILES
from jielong.data.readers.records import check, records


def plan(
    chosen: Iterable[sources.Source],
    paths: Mapping[str, Path],
    files: Sequence[str],
    options: FileOptions,
) -> list[Part]:
    """The parts of all sources that are there (`paths` of their archives), then of the files.

    Raises `DataError` for a pattern that leads to nothing and for a file without the wanted column.
    """
    parts = []
    for source in chosen:
        if source.archive is None:
            parts.append(Part(source=source.id, version=platform.python_version()))
        elif source.id in paths:
            numbers = range(len(source.parts))
            parts += [Part(source=source.id, members=number) for number in numbers]
    found = find(files)
    for file in found:
        check(file, options)
    return parts + group_files(FILES, found)


@dataclass(frozen=True)
class Reader:
    """Reads one part, in whichever process it is called."""

    archives: Mapping[str, Path]
    options: FileOptions
    folder: Path
    """What the paths of files are relative to: a worker may stand elsewhere."""

    def __call__(self, part: Part) -> Iterator[Document | Rejected]:
        """The documents of the part, uncleaned, and what of it could not be read."""
        if part.source == FILES:
            yield from self._files(part)
            return
        source = sources.lookup(part.source)
        if source.archive is None:
            yield from corpus.documents(source.id)
            return
        archive = self.folder / self.archives[source.id]
        members = archives.read(source, archive, source.parts[part.members])
        yield from corpus.documents(source.id, members)

    def _files(self, part: Part) -> Iterator[Document | Rejected]:
        for file in part.files:
            yield from records(replace(file, path=self.folder / file.path), self.options)


def lexicon_members(
    chosen: Iterable[sources.Source], paths: Mapping[str, Path]
) -> dict[str, bytes]:
    """The one member of each source that the lexicon is made from."""
    found = {}
    for source in chosen:
        if source.id in corpus.LEXICON_SOURCES and source.id in paths:
            [member] = archives.read(source, paths[source.id], source.parts[0])
            found[source.id] = member.data
    return found
