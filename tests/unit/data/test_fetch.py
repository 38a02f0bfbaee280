"""Fetching, against real servers on the loopback that speak for an index, a registry, a mirror."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from jielong.core.errors import SourceHashMismatchError, SourceUnavailableError, StorageError
from jielong.data.archives import read
from jielong.data.fetch import Cache, fetch_all
from jielong.data.sources import Archive, Members, Source
from tests.packages import Index, debian, serving, tarred, wheel

FILES = {
    "wheel": "self_written-1.0-py3-none-any.whl",
    "sdist": "self_written-1.0.tar.gz",
    "npm": "self-written-1.0.tgz",
    "deb": "self-written_1.0-2_all.deb",
}
ADDRESSES = {
    "wheel": f"/files/{FILES['wheel']}",
    "sdist": f"/files/{FILES['sdist']}",
    "npm": f"/files/npm/self-written/-/{FILES['npm']}",
    "deb": f"/files/debian/pool/main/s/self/{FILES['deb']}",
}
MEMBER = "self_written/data.txt"
CONTENT = {MEMBER: "自己写的。\n".encode()}
MADE: dict[str, Callable[..., bytes]] = {
    "wheel": wheel,
    "sdist": tarred,
    "npm": tarred,
    "deb": debian,
}
KINDS = pytest.mark.parametrize(
    "kind",
    [
        "wheel",
        "sdist",
        "npm",
        pytest.param(
            "deb", marks=pytest.mark.skipif(not shutil.which("apt-get"), reason="no apt here")
        ),
    ],
)


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Index]:
    """A server with one package of each kind, to which pip, npm and apt are set."""
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with serving(Index()) as running:
        links = "".join(f'<a href="/files/{name}">{name}</a>' for name in FILES.values())
        running.pages["/simple/self-written/"] = ("text/html", links.encode())
        for kind, path in ADDRESSES.items():
            running.pages[path] = ("binary/x", MADE[kind](CONTENT))
        monkeypatch.setenv("PIP_INDEX_URL", f"{running.url}/simple")
        monkeypatch.setenv("npm_config_registry", f"{running.url}/files/npm/")
        set_apt(f"{running.url}/files/debian", tmp_path, monkeypatch)
        yield running


def set_apt(mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sources.list").write_text(f"deb {mirror} stable main\n")
    settings = {"SourceList": tmp_path / "sources.list", "SourceParts": os.devnull}
    lines = [f'Dir::Etc::{name} "{path}";' for name, path in settings.items()]
    (tmp_path / "apt.conf").write_text("\n".join(lines))
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))


def source(content: bytes, kind: str = "wheel", **changes: object) -> Source:
    archive = Archive(
        kind=kind,  # type: ignore[arg-type]
        package="self-written",
        version="1.0",
        file=FILES[kind],
        sha256=hashlib.sha256(content).hexdigest(),
        pool="pool/main/s/self",
    )
    plain = Source(
        id="own",
        archive=archive,
        parts=(Members(paths=(MEMBER,), max_mb=0.001),),
        licence_class="clear",
        licence="ours",
        attribution="ours",
    )
    return replace(plain, **changes)


def cache(tmp_path: Path, **settings: object) -> Cache:
    return replace(Cache(directory=tmp_path / "cache", back_off_s=0.01), **settings)


def kept_files(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


@KINDS
def test_a_second_run_needs_no_network(index: Index, tmp_path: Path, kind: str) -> None:
    own = source(MADE[kind](CONTENT), kind)
    path = fetch_all([own], cache(tmp_path)).paths["own"]
    assert own.archive is not None
    assert path == tmp_path / "cache" / "sources" / own.archive.sha256 / FILES[kind]
    assert list(read(own, path, own.parts[0])) == [(MEMBER, CONTENT[MEMBER])]
    asked = len(index.asked)
    assert fetch_all([own], cache(tmp_path, offline=True)).paths == {"own": path}
    assert fetch_all([own], cache(tmp_path)).paths == {"own": path}
    assert len(index.asked) == asked
    assert kept_files(tmp_path) == [path]


@pytest.mark.parametrize("kind", ["wheel", "npm"])
def test_passing_trouble_is_tried_three_times(index: Index, tmp_path: Path, kind: str) -> None:
    index.failures = 2
    fetch_all([source(MADE[kind](CONTENT), kind)], cache(tmp_path))
    assert index.count(ADDRESSES[kind]) == 3


@pytest.mark.parametrize("kind", ["wheel", "npm"])
def test_lasting_trouble_is_given_up(index: Index, tmp_path: Path, kind: str) -> None:
    index.failures = 1000
    with pytest.raises(SourceUnavailableError, match=r"'own'.*503.*check the network") as caught:
        fetch_all([source(MADE[kind](CONTENT), kind)], cache(tmp_path))
    assert index.count(ADDRESSES[kind]) == (6 if kind == "wheel" else 3)  # pip retries by itself
    assert "\n" not in str(caught.value)
    assert kept_files(tmp_path) == []


@pytest.mark.parametrize(
    ("kind", "cure"),
    [("wheel", "PIP_INDEX_URL"), ("sdist", "PIP_INDEX_URL"), ("npm", "npm_config_registry")],
)
def test_a_file_that_is_not_there_is_asked_for_once(
    index: Index, tmp_path: Path, kind: str, cure: str
) -> None:
    del index.pages[ADDRESSES[kind]]
    with pytest.raises(SourceUnavailableError) as caught:
        fetch_all([source(MADE[kind](CONTENT), kind)], cache(tmp_path))
    line = str(caught.value)
    assert line.startswith(f"source 'own' (self-written{'@' if kind == 'npm' else '=='}1.0): ")
    assert "404" in line
    assert cure in line
    assert FILES[kind] in line
    assert "\n" not in line
    assert index.count(ADDRESSES[kind]) == 1
    assert kept_files(tmp_path) == []


@pytest.mark.parametrize("kind", ["sdist", "npm"])
def test_a_file_that_breaks_off_never_reaches_the_cache(
    index: Index, tmp_path: Path, kind: str
) -> None:
    index.cut = 20
    with pytest.raises((SourceUnavailableError, SourceHashMismatchError), match=r"'own'"):
        fetch_all([source(MADE[kind](CONTENT), kind)], cache(tmp_path))
    assert kept_files(tmp_path) == []
    index.cut = 0
    fetch_all([source(MADE[kind](CONTENT), kind)], cache(tmp_path))


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_an_index_without_the_package_is_named(index: Index, tmp_path: Path, kind: str) -> None:
    own = source(MADE[kind](CONTENT), kind)
    assert own.archive is not None
    other = replace(own, archive=replace(own.archive, package="not-there"))
    with pytest.raises(SourceUnavailableError, match=r"'own' \(not-there==1.0\): "):
        fetch_all([other], cache(tmp_path))
    assert index.asked == ["/simple/not-there/"]


@pytest.mark.parametrize("kind", ["wheel", "sdist", "npm"])
def test_no_network_on_the_first_run(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    for name in ("PIP_INDEX_URL", "npm_config_registry"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/simple")  # nobody listens there
    with pytest.raises(SourceUnavailableError, match=r"'own'.*\(.*refused\): check the network"):
        fetch_all([source(MADE[kind](CONTENT), kind)], cache(tmp_path))
    assert kept_files(tmp_path) == []


@KINDS
def test_another_file_on_the_index_is_a_mismatch(index: Index, tmp_path: Path, kind: str) -> None:
    other = MADE[kind]({MEMBER: "别的。".encode()})
    index.pages[ADDRESSES[kind]] = ("binary/x", other)
    own = source(MADE[kind](CONTENT), kind)
    with pytest.raises(SourceHashMismatchError) as caught:
        fetch_all([own], cache(tmp_path))
    assert hashlib.sha256(other).hexdigest() in str(caught.value)
    assert own.archive is not None
    assert own.archive.sha256 in str(caught.value)
    assert index.count(ADDRESSES[kind]) == 1
    assert kept_files(tmp_path) == []


def test_a_damaged_cached_file_is_replaced(index: Index, tmp_path: Path) -> None:
    own = source(wheel(CONTENT))
    path = fetch_all([own], cache(tmp_path)).paths["own"]
    path.write_bytes(wheel(CONTENT)[:-20])
    with pytest.raises(SourceHashMismatchError, match=r"offline=false"):
        fetch_all([own], cache(tmp_path, offline=True))
    assert fetch_all([own], cache(tmp_path)).paths["own"].read_bytes() == wheel(CONTENT)


def test_offline_all_that_is_missing_is_listed_once(tmp_path: Path) -> None:
    first, second = source(b"1"), source(b"2", "npm", id="second")
    with pytest.raises(SourceUnavailableError) as caught:
        fetch_all([first, replace(first, id="twin"), second], cache(tmp_path, offline=True))
    assert str(caught.value).count(FILES["wheel"]) == 1
    assert str(caught.value).count(FILES["npm"]) == 1


def test_only_an_optional_source_may_be_missing(
    index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here, gone = source(wheel(CONTENT)), source(b"", "npm", id="gone", optional=True)
    del index.pages[ADDRESSES["npm"]]
    found = fetch_all([here, gone], cache(tmp_path))
    assert set(found.paths) == {"own"}
    assert set(found.skipped) == {"gone"}
    assert "404" in found.skipped["gone"]
    told = " ".join(capsys.readouterr().err.split())
    assert "going on without an optional source: source 'gone' (self-written@1.0): " in told
    found = fetch_all([here, gone], cache(tmp_path, offline=True))
    assert "offline, and not in the cache as" in found.skipped["gone"]
    with pytest.raises(SourceUnavailableError, match=r"'gone'.*404"):
        fetch_all([here, replace(gone, optional=False)], cache(tmp_path))
    copies = {"gone": tmp_path / "none"}  # what the user names is no option
    with pytest.raises(SourceUnavailableError, match=r"sources\.gone\.path"):
        fetch_all([gone], cache(tmp_path, local_copies=copies))


def test_a_local_copy_is_verified_and_left_alone(tmp_path: Path) -> None:
    copies = {"own": tmp_path / FILES["npm"]}
    copies["own"].write_bytes(tarred(CONTENT))
    settings = cache(tmp_path, offline=True, local_copies=copies)
    assert fetch_all([source(tarred(CONTENT), "npm")], settings).paths == copies
    with pytest.raises(SourceHashMismatchError, match=r"local copy"):
        fetch_all([source(b"other", "npm")], settings)
    assert copies["own"].read_bytes() == tarred(CONTENT)
    with pytest.raises(SourceUnavailableError, match=r"sources\.own\.path = .*no such file"):
        fetch_all([source(b"")], cache(tmp_path, local_copies={"own": tmp_path / "none"}))


def test_a_cache_that_cannot_be_written_is_named(index: Index, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(StorageError, match=r"cache_dir: .*choose another"):
        fetch_all([source(wheel(CONTENT))], cache(tmp_path))
