"""Where this machine gets packages from: the settings of pip, npm and apt, and nothing else.

No host is named here. What a user has set for an installer, such as a mirror or a company's own
index, holds for us too, and where nothing is set the installer is asked for its default.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from json import loads
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from jielong.data.download import Place, TransferError, all_refused, get
from jielong.data.sources import Archive

_SIMPLE_JSON = "application/vnd.pypi.simple.v1+json"
_LARGEST_PAGE_BYTES = 50_000_000


def places(archive: Archive) -> Iterator[Place]:
    """Each address at which the file may be found, in the order in which to try them.

    Raises `TransferError` where an index has to be asked first and does not list the file.
    """
    match archive.kind:
        case "npm":
            url = f"{_npm_registry().rstrip('/')}/{archive.package}/-/{archive.file}"
            yield Place(url, _npm_setting("cafile"))
        case "deb":
            yield from (Place(f"{root}/{archive.pool}/{archive.file}") for root in _apt_mirrors())
        case _:
            yield from _in_indexes(archive)


def _in_indexes(archive: Archive) -> Iterator[Place]:
    """Where pip's indexes say that the file is (PEP 691, or PEP 503 from an older index)."""
    settings = _pip_settings()
    name = re.sub(r"[-_.]+", "-", archive.package).lower()
    refusals = []
    for index in _pip_indexes(settings):
        page = f"{index.rstrip('/')}/{name}/"
        try:
            if found := _listed(Place(page, settings.get("cert")), archive.file):
                yield found
                continue
            refusals.append(TransferError(f"the index has no {archive.file}"))
        except TransferError as error:
            refusals.append(error)
    if refusals:
        raise all_refused(refusals)


def _listed(page: Place, file: str) -> Place | None:
    """The address of `file` on an index's page of a package."""
    is_local = urlsplit(page.url).scheme == "file"  # as pip does: a folder's page is its index.html
    asked = page._replace(url=urljoin(page.url, "index.html")) if is_local else page
    answer = get(asked, accept=f"{_SIMPLE_JSON}, text/html;q=0.1", limit=_LARGEST_PAGE_BYTES)
    try:
        if answer.content_type == _SIMPLE_JSON:
            links = [entry["url"] for entry in loads(answer.body)["files"]]
        else:
            links = _links(answer.body.decode())
    except (ValueError, KeyError, TypeError):
        raise TransferError(f"{asked} holds no list of files") from None
    for link in links:
        url = urldefrag(urljoin(answer.url, link)).url
        if unquote(urlsplit(url).path).rpartition("/")[2] == file:
            return Place(url, page.ca_file)
    return None


def _links(page: str) -> list[str]:
    found: list[str] = []

    class Anchors(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            target = dict(attrs).get("href")
            if tag == "a" and target:
                found.append(target)

    Anchors().feed(page)
    return found


def _pip_settings() -> dict[str, str]:
    """pip's own settings, later ones of more weight: file, command, environment."""
    lines = _output([sys.executable, "-m", "pip", "config", "list"]).splitlines()
    found = {}
    for scope in ("global.", "download.", ":env:."):
        for line in lines:
            key, separator, value = line.partition("=")
            if separator and key.startswith(scope):
                found[key.removeprefix(scope)] = str(ast.literal_eval(value))
    return found


def _pip_indexes(settings: dict[str, str]) -> list[str]:
    if settings.get("no-index", "") in ("1", "true", "yes", "on"):
        raise TransferError("pip is set to use no index")
    index = settings.get("index-url") or _pip_default_index()
    return [index, *settings.get("extra-index-url", "").split()]


def _pip_default_index() -> str:
    told = _output([sys.executable, "-m", "pip", "download", "--help"])
    found = re.search(r"--index-url.*?\(default\s+(\S+)\)", told, re.DOTALL)
    if not found:
        raise TransferError("no package index is set")
    return found[1]


def _npm_registry() -> str:
    npm = shutil.which("npm")
    registry = _npm_setting("registry") or (npm and _output([npm, "config", "get", "registry"]))
    if not registry:
        raise TransferError("no npm registry is set")
    return registry.strip()


def _npm_setting(name: str) -> str | None:
    """A setting of npm, from the environment or the user's file."""
    variables = {key.lower(): value for key, value in os.environ.items()}  # npm takes either case
    if value := variables.get(f"npm_config_{name}"):
        return value
    path = Path(variables.get("npm_config_userconfig", "~/.npmrc")).expanduser()
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    for line in lines:
        key, _, value = line.partition("=")
        if key.strip() == name:
            return value.strip().strip("'\"")
    return None


def _apt_mirrors() -> list[str]:
    """The roots of the repositories from which apt would update itself."""
    command = shutil.which("apt-get")
    told = _output([command, "update", "--print-uris"]) if command else ""
    roots = re.findall(r"^'((?:https?|file)://[^']*?)/dists/", told, re.MULTILINE)
    if not roots:
        raise TransferError("apt is set to no mirror, or there is no apt on this machine")
    return list(dict.fromkeys(roots))


def _output(command: list[str]) -> str:
    """What a command prints, or nothing if it fails; wide, so that it breaks no line."""
    environment = {**os.environ, "COLUMNS": "1000"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    return done.stdout if done.returncode == 0 else ""
