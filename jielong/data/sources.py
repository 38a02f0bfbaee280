"""The table of pinned sources (`sources.toml`), read into types."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

from jielong.core import config as configs
from jielong.core.errors import ConfigError

Kind = Literal["wheel", "sdist", "npm", "deb"]
_VERSION_MARK = {"wheel": "==", "sdist": "==", "npm": "@", "deb": "="}


@dataclass(frozen=True, kw_only=True)
class Archive:
    """One file of a package index, fixed by name, version and hash."""

    package: str
    version: str
    file: str
    sha256: str
    kind: Kind = "wheel"
    pool: str = ""  # of a Debian package: the folder below the root of a mirror

    @property
    def pin(self) -> str:
        """The exact package, as its own installer writes it."""
        return f"{self.package}{_VERSION_MARK[self.kind]}{self.version}"


@dataclass(frozen=True, kw_only=True)
class Members:
    """Members of an archive that may be opened, read together and without the other parts.

    In a path, `*` stands for any characters but `/`, and `**/` for any folders, or none.
    """

    paths: tuple[str, ...]
    max_mb: float  # of each member, unpacked
    files: int = 1  # how many members there are: a pinned archive has neither more nor fewer


@dataclass(frozen=True, kw_only=True)
class Source:
    """One text: the archive members that may be opened, and the terms it comes under."""

    id: str
    archive: Archive | None = None  # None: nothing to fetch, the text is already on the machine
    parts: tuple[Members, ...] = ()  # each a piece of work of a bearable size
    licence_class: Literal["clear", "all"]
    licence: str
    attribution: str
    optional: bool = False  # a run goes on without it when it cannot be had


@cache
def table() -> dict[str, Source]:
    """Every known source by its id."""
    text = resources.files("jielong.data").joinpath("sources.toml").read_text(encoding="utf-8")
    values = tomllib.loads(text)
    archives = {
        package: configs.parse(Archive, {"package": package, **pin}, f"archives.{package}")
        for package, pin in values["archives"].items()
    }
    return {name: _source(name, entry, archives) for name, entry in values["sources"].items()}


def lookup(name: str) -> Source:
    """The source called `name`; raises `ConfigError` when the table has none."""
    try:
        return table()[name]
    except KeyError:
        known = ", ".join(table())
        raise ConfigError(f"sources.{name}: no such source: choose from {known}") from None


def _source(name: str, entry: dict[str, Any], archives: dict[str, Archive]) -> Source:
    archive = archives[entry["archive"]] if "archive" in entry else None
    parts = tuple(
        configs.parse(Members, part, f"sources.{name}.parts") for part in entry.get("parts", ())
    )
    return Source(**{**entry, "id": name, "archive": archive, "parts": parts})
