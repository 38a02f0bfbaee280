"""Where packages are looked for, with the real pip, npm files and apt, set to the loopback."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from jielong.data import registries
from jielong.data.download import TransferError
from jielong.data.registries import places
from jielong.data.sources import Archive
from tests.packages import Index, serving

FILE = "Self_Written-1.0.tar.gz"
SDIST = Archive(kind="sdist", package="Self_Written", version="1.0", file=FILE, sha256="")
NPM = Archive(kind="npm", package="own", version="1.0", file="own-1.0.tgz", sha256="")
PAGE = "/simple/self-written/"  # names are written in one way


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX", "PIP_CERT", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with serving(Index()) as running:
        monkeypatch.setenv("PIP_INDEX_URL", f"{running.url}/simple/")
        yield running


def found(archive: Archive) -> list[str]:
    return [place.url for place in places(archive)]


def test_an_index_that_speaks_json(index: Index) -> None:
    files = [
        {"filename": f"other-{FILE}", "url": f"x/other-{FILE}"},
        {"filename": FILE, "url": FILE},
    ]
    page = json.dumps({"files": files}).encode()
    index.pages[PAGE] = ("application/vnd.pypi.simple.v1+json", page)
    assert found(SDIST) == [f"{index.url}{PAGE}{FILE}"]


@pytest.mark.parametrize(
    ("link", "address"),
    [
        (f"../../files/{FILE}#sha256=00", "{url}/files/" + FILE),
        (f"/files/{FILE}?a=1&amp;b=2", "{url}/files/" + FILE + "?a=1&b=2"),
        (f"https://elsewhere.test/{FILE}", f"https://elsewhere.test/{FILE}"),
        ("Self%5FWritten-1.0.tar.gz", "{url}" + PAGE + "Self%5FWritten-1.0.tar.gz"),
    ],
)
def test_an_index_that_speaks_html(index: Index, link: str, address: str) -> None:
    page = f'<!DOCTYPE html><a name="top"></a><A HREF="other.zip">o</A><a href="{link}">it</a>'
    index.pages[PAGE] = ("text/html", page.encode())
    assert found(SDIST) == [address.format(url=index.url)]


def test_an_index_that_has_moved(index: Index) -> None:
    index.moved[PAGE] = "/new/place/"
    index.pages["/new/place/"] = ("text/html", f'<a href="{FILE}">{FILE}</a>'.encode())
    assert found(SDIST) == [f"{index.url}/new/place/{FILE}"]


def test_a_further_index_is_asked_too(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"{index.url}/none {index.url}/more")
    index.pages["/more/self-written/"] = ("text/html", f'<a href="{FILE}">it</a>'.encode())
    addresses = places(SDIST)
    assert next(addresses).url == f"{index.url}/more/self-written/{FILE}"
    with pytest.raises(TransferError, match="answered 404"):
        next(addresses)
    assert index.asked == [PAGE, "/none/self-written/", "/more/self-written/"]


def test_an_index_in_a_folder(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", tmp_path.as_uri())
    (tmp_path / "self-written").mkdir()
    page = tmp_path / "self-written" / "index.html"
    page.write_text(f'<a href="../{FILE}">it</a>')
    assert found(SDIST) == [f"{tmp_path.as_uri()}/{FILE}"]
    page.unlink()
    with pytest.raises(
        TransferError, match=r"index.html: no connection \(.*No such file"
    ) as caught:
        found(SDIST)
    assert not caught.value.may_pass


@pytest.mark.parametrize(
    ("kind", "page", "message"),
    [
        ("text/html", b"<a href='other.zip'>", f"the index has no {FILE}"),
        ("application/vnd.pypi.simple.v1+json", b"{}", "holds no list of files"),
        ("application/vnd.pypi.simple.v1+json", b"<html>", "holds no list of files"),
        ("text/html", b"\xff\xfe", "holds no list of files"),
    ],
)
def test_a_page_that_does_not_help(index: Index, kind: str, page: bytes, message: str) -> None:
    index.pages[PAGE] = (kind, page)
    with pytest.raises(TransferError, match=message):
        found(SDIST)


def test_a_password_goes_to_its_own_host_only(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = index.url.removeprefix("http://")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://me:p%40ss@{host}/simple")
    index.pages[PAGE] = ("text/html", f'<a href="{FILE}">it</a>'.encode())
    assert found(SDIST) == [f"http://me:p%40ss@{host}{PAGE}{FILE}"]
    assert index.passwords == ["Basic bWU6cEBzcw=="]  # base64 of me:p@ss
    with serving(Index()) as other:
        index.moved[PAGE] = f"{other.url}{PAGE}"
        other.pages[PAGE] = index.pages[PAGE]
        assert found(SDIST) == [f"{other.url}{PAGE}{FILE}"]
        assert other.passwords == [None]
    index.moved, index.pages = {}, {}
    with pytest.raises(TransferError) as caught:
        found(SDIST)
    assert "p%40ss" not in str(caught.value)


def test_pip_may_be_set_to_use_no_index(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(TransferError, match="no index"):
        found(SDIST)
    assert index.asked == []


def test_the_settings_of_pip_have_an_order(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "pip.conf"
    config.write_text(
        f"[global]\nindex-url = {index.url}/a\n[download]\nindex-url = {index.url}/b\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    with pytest.raises(TransferError, match="404"):
        found(SDIST)
    monkeypatch.delenv("PIP_INDEX_URL")
    with pytest.raises(TransferError, match="404"):
        found(SDIST)
    assert index.asked == [PAGE, "/b/self-written/"]


def test_pip_has_a_default_index() -> None:
    assert registries._pip_default_index().startswith("https://")


def test_the_registry_of_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "npmrc"
    own.write_text('; mine\nregistry = "https://file.test/npm/"\ncafile=/some/file.pem\n')
    monkeypatch.delenv("npm_config_registry", raising=False)
    monkeypatch.delenv("npm_config_cafile", raising=False)
    monkeypatch.setenv("NPM_CONFIG_USERCONFIG", str(own))
    assert list(places(NPM)) == [("https://file.test/npm/own/-/own-1.0.tgz", "/some/file.pem")]
    monkeypatch.setenv("npm_config_registry", "https://variable.test")
    assert found(NPM) == ["https://variable.test/own/-/own-1.0.tgz"]
    monkeypatch.delenv("npm_config_registry")
    own.write_text("")
    monkeypatch.setenv("PATH", str(tmp_path))  # and no npm
    with pytest.raises(TransferError, match="no npm registry is set"):
        found(NPM)


@pytest.mark.skipif(not shutil.which("npm"), reason="no npm here")
def test_npm_is_asked_for_its_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("npm_config_registry", raising=False)
    monkeypatch.setenv("npm_config_userconfig", str(tmp_path / "none"))
    [address] = found(NPM)
    assert address.startswith("https://")
    assert address.endswith("/own/-/own-1.0.tgz")


@pytest.mark.skipif(not shutil.which("apt-get"), reason="no apt here")
def test_the_mirrors_of_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sources.list").write_text(
        "deb http://a.test/debian stable main\ndeb http://a.test/debian testing main\n"
        "deb [trusted=yes] https://b.test/x/y/ stable main\ndeb cdrom:[disk]/ stable main\n"
    )
    (tmp_path / "apt.conf").write_text(
        f'Dir::Etc::SourceList "{tmp_path}/sources.list"; Dir::Etc::SourceParts "/dev/null";'
    )
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    package = Archive(
        kind="deb",
        package="own",
        version="1:1",
        file="own_1_all.deb",
        sha256="",
        pool="pool/main/o",
    )
    assert sorted(found(package)) == [
        "http://a.test/debian/pool/main/o/own_1_all.deb",
        "https://b.test/x/y/pool/main/o/own_1_all.deb",
    ]
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TransferError, match="no mirror, or there is no apt"):
        found(package)
