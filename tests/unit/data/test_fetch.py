"""Fetching, against a real package index on the loopback that speaks the Simple API."""

import hashlib
import os
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from jielong.core.errors import (
    DataError,
    SourceHashMismatchError,
    SourceUnavailableError,
    StorageError,
)
from jielong.data.fetch import Cache, fetch_all, read_member
from jielong.data.sources import Archive, Source

FILE = "self_written-1.0-py3-none-any.whl"
MEMBER = "self_written/data.txt"


@dataclass
class Index:
    """What the server serves, how often it fails first, and what it was asked for."""

    wheel: bytes = b""
    failures: int = 0
    asked: list[str] = field(default_factory=list)

    def answer(self, path: str) -> tuple[int, bytes]:
        self.asked.append(path)
        if path == "/simple/self-written/":
            return 200, f'<a href="/files/{FILE}">{FILE}</a>'.encode()
        if path == f"/files/{FILE}" and self.wheel:
            self.failures -= 1
            return (503, b"busy") if self.failures >= 0 else (200, self.wheel)
        return 404, b"not found"


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Index]:
    state = Index(wheel=make_wheel(tmp_path / "built"))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = state.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Type", "text/html" if "simple" in self.path else "binary/x")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


def make_wheel(folder: Path, text: str = "自己写的。\n") -> bytes:
    folder.mkdir(parents=True)
    info = "self_written-1.0.dist-info"
    with zipfile.ZipFile(folder / FILE, "w") as wheel:
        wheel.writestr(MEMBER, text)
        wheel.writestr("self_written/__init__.py", "raise SystemExit('this code must not run')")
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: self-written\nVersion: 1.0\n"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return (folder / FILE).read_bytes()


def source(wheel: bytes, **changes: object) -> Source:
    archive = Archive(
        package="self-written",
        version="1.0",
        file=FILE,
        sha256=hashlib.sha256(wheel).hexdigest(),
    )
    plain = Source(
        id="own",
        archive=archive,
        member=MEMBER,
        max_member_mb=0.001,
        licence_class="clear",
        licence="ours",
        attribution="ours",
    )
    return replace(plain, **changes)


def cache(tmp_path: Path, **settings: object) -> Cache:
    return replace(Cache(directory=tmp_path / "cache", back_off_s=0.01), **settings)


def kept_files(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_second_run_needs_no_network(index: Index, tmp_path: Path) -> None:
    own = source(index.wheel)
    path = fetch_all([own], cache(tmp_path))["own"]
    assert path == tmp_path / "cache" / "sources" / own.archive.sha256 / FILE  # pyright: ignore
    assert read_member(own, path).decode() == "自己写的。\n"
    asked = len(index.asked)
    assert fetch_all([own], cache(tmp_path, offline=True)) == {"own": path}
    assert fetch_all([own], cache(tmp_path)) == {"own": path}
    assert len(index.asked) == asked
    assert kept_files(tmp_path) == [path]


def test_passing_trouble_is_tried_three_times(index: Index, tmp_path: Path) -> None:
    index.failures = 2
    fetch_all([source(index.wheel)], cache(tmp_path))
    assert index.asked.count(f"/files/{FILE}") == 3


def test_lasting_trouble_is_given_up(index: Index, tmp_path: Path) -> None:
    index.failures = 1000
    with pytest.raises(SourceUnavailableError, match=r"'own'.*503.*check the network"):
        fetch_all([source(index.wheel)], cache(tmp_path))
    assert index.asked.count(f"/files/{FILE}") <= 6


def test_a_file_that_is_not_there_is_asked_for_once(index: Index, tmp_path: Path) -> None:
    own, index.wheel = source(index.wheel), b""
    with pytest.raises(SourceUnavailableError) as caught:
        fetch_all([own], cache(tmp_path))
    line = str(caught.value)
    assert line.startswith("source 'own' (self-written==1.0): ")
    assert "404" in line
    assert "PIP_INDEX_URL" in line
    assert FILE in line
    assert "\n" not in line
    assert index.asked.count(f"/files/{FILE}") == 1
    assert kept_files(tmp_path) == []


def test_an_index_without_the_package_is_named(index: Index, tmp_path: Path) -> None:
    own = source(index.wheel)
    other = replace(own, archive=replace(own.archive, package="not-there"))
    with pytest.raises(SourceUnavailableError, match=r"'own' \(not-there==1.0\): "):
        fetch_all([other], cache(tmp_path))
    assert index.asked == ["/simple/not-there/"]


def test_no_network_on_the_first_run(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # nobody listens there
    with pytest.raises(SourceUnavailableError, match=r"'own'.*\(.*refused\): check the network"):
        fetch_all([source(index.wheel)], cache(tmp_path))
    assert kept_files(tmp_path) == []


def test_another_file_on_the_index_is_a_mismatch(index: Index, tmp_path: Path) -> None:
    own, index.wheel = source(index.wheel), make_wheel(tmp_path / "other", "别的。")
    with pytest.raises(SourceHashMismatchError) as caught:
        fetch_all([own], cache(tmp_path))
    assert hashlib.sha256(index.wheel).hexdigest() in str(caught.value)
    assert own.archive is not None
    assert own.archive.sha256 in str(caught.value)
    assert kept_files(tmp_path) == []


def test_a_damaged_cached_file_is_replaced(index: Index, tmp_path: Path) -> None:
    own = source(index.wheel)
    path = fetch_all([own], cache(tmp_path))["own"]
    path.write_bytes(index.wheel[:-20])
    with pytest.raises(SourceHashMismatchError, match=r"offline=false"):
        fetch_all([own], cache(tmp_path, offline=True))
    assert fetch_all([own], cache(tmp_path))["own"].read_bytes() == index.wheel


def test_offline_all_that_is_missing_is_listed_once(tmp_path: Path) -> None:
    first, second = source(b"1"), source(b"2", id="second")
    with pytest.raises(SourceUnavailableError) as caught:
        fetch_all([first, replace(first, id="twin"), second], cache(tmp_path, offline=True))
    assert str(caught.value).count(FILE) == 2


def test_a_local_copy_is_verified_and_left_alone(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "copy")
    copies = {"own": tmp_path / "copy" / FILE}
    settings = cache(tmp_path, offline=True, local_copies=copies)
    assert fetch_all([source(wheel)], settings) == copies
    with pytest.raises(SourceHashMismatchError, match=r"local copy"):
        fetch_all([source(b"other")], settings)
    assert copies["own"].read_bytes() == wheel
    with pytest.raises(SourceUnavailableError, match=r"sources\.own\.path = .*no such file"):
        fetch_all([source(wheel)], cache(tmp_path, local_copies={"own": tmp_path / "none"}))


def test_a_cache_that_cannot_be_written_is_named(index: Index, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(StorageError, match=r"cache_dir: .*choose another"):
        fetch_all([source(index.wheel)], cache(tmp_path))


def test_only_the_listed_member_within_its_limit_is_read(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "copy", "x" * 1001)
    path = tmp_path / "copy" / FILE
    with pytest.raises(DataError, match=r"'own'.*no member a/b"):
        read_member(source(wheel, member="a/b"), path)
    with pytest.raises(DataError, match=r"'own'.*larger than 1,000 bytes"):
        read_member(source(wheel), path)
    path.write_bytes(wheel[:50])
    with pytest.raises(DataError, match=r"'own'.*not a whole zip file"):
        read_member(source(wheel), path)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / FILE, "w") as archive:
        link = zipfile.ZipInfo(MEMBER)
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "../../secret")
    with pytest.raises(DataError, match=r"is a link"):
        read_member(source(b""), tmp_path / FILE)
