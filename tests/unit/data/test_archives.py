"""Reading members, from archives that the standard library makes."""

import io
import zipfile
from pathlib import Path

import pytest

from jielong.core.errors import DataError
from jielong.data.archives import Member, read
from jielong.data.sources import Archive, Kind, Members, Source
from tests.packages import debian, tarred, zipped

FILES = {
    "own/data/b.txt": b"2",
    "own/data/a.txt": b"1",
    "own/data/deep/er/c.txt": b"3",
    "own/data/a.json": b"4",
    "own/code.py": b"raise SystemExit('this code must not run')",
}


def read_all(tmp_path: Path, content: bytes, kind: Kind, part: Members) -> list[Member]:
    archive = Archive(package="own", version="1", file="own", sha256="", kind=kind)
    source = Source(
        id="own", archive=archive, parts=(part,), licence_class="clear", licence="", attribution=""
    )
    (tmp_path / "own").write_bytes(content)
    return list(read(source, tmp_path / "own", part))


def part(*paths: str, files: int = 1, max_mb: float = 0.001) -> Members:
    return Members(paths=paths, files=files, max_mb=max_mb)


MADE = {
    "wheel": zipped(FILES),
    "sdist": tarred(FILES),
    "npm": tarred(FILES),
    "deb": debian(FILES),
}
KINDS = pytest.mark.parametrize("kind", MADE)


@KINDS
def test_only_what_is_allowed_is_read(tmp_path: Path, kind: Kind) -> None:
    found = read_all(tmp_path, MADE[kind], kind, part("own/data/*.txt", files=2))
    assert found == [("own/data/b.txt", b"2"), ("own/data/a.txt", b"1")]
    found = read_all(tmp_path, MADE[kind], kind, part("own/**/*.txt", files=3))
    assert [member.name[-5:] for member in found] == ["b.txt", "a.txt", "c.txt"]
    found = read_all(tmp_path, MADE[kind], kind, part("own/data/a.json", "own/*/b.txt", files=2))
    assert [member.data for member in found] == [b"2", b"4"]


@KINDS
def test_a_member_too_many_or_too_few_is_told(tmp_path: Path, kind: Kind) -> None:
    for files in (1, 3):
        with pytest.raises(DataError, match=rf"'own'.*2 member\(s\) own/data/\*.txt.* {files}: "):
            read_all(tmp_path, MADE[kind], kind, part("own/data/*.txt", files=files))
    with pytest.raises(DataError, match=r"0 member\(s\) own.data/a.txt"):
        read_all(tmp_path, MADE[kind], kind, part("own.data/a.txt"))


@KINDS
def test_a_member_within_its_limit(tmp_path: Path, kind: Kind) -> None:
    files = {"own/data/a.txt": b"x" * 1001}
    content = {"wheel": zipped, "deb": debian}.get(kind, tarred)(files)
    assert read_all(tmp_path, content, kind, part("own/data/a.txt", max_mb=0.0011))
    with pytest.raises(DataError, match=r"'own': own/data/a.txt is larger than 1,000 bytes"):
        read_all(tmp_path, content, kind, part("own/data/a.txt"))


@KINDS
@pytest.mark.parametrize("left", [0, 4, 100, -40])
def test_a_broken_archive_is_told(tmp_path: Path, kind: Kind, left: int) -> None:
    # tarfile takes some cuts for the end of the archive; then members are missing.
    with pytest.raises(DataError, match=r"'own'.*(not a whole archive|has 0 member)"):
        read_all(tmp_path, MADE[kind][:left], kind, part("own/**/*.txt", files=3))


def test_links_are_refused(tmp_path: Path) -> None:
    content = tarred({}, links={"own/data/a.txt": "/etc/passwd"})
    with pytest.raises(DataError, match=r"own/data/a.txt is a link"):
        read_all(tmp_path, content, "sdist", part("own/data/*.txt"))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("own/data/a.txt")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "../../secret")
    with pytest.raises(DataError, match=r"own/data/a.txt is a link"):
        read_all(tmp_path, buffer.getvalue(), "wheel", part("own/data/*.txt"))


def test_names_that_lead_elsewhere_are_refused(tmp_path: Path) -> None:
    content = tarred({"own/../../etc/x.txt": b"1"})
    with pytest.raises(DataError, match=r"refused"):
        read_all(tmp_path, content, "npm", part("own/**/*.txt"))


def test_a_debian_package_may_be_packed_in_any_way(tmp_path: Path) -> None:
    for packing in ("gz", "bz2", "xz"):
        content = debian(FILES, packing)
        assert read_all(tmp_path, content, "deb", part("own/data/a.txt")) == [
            ("own/data/a.txt", b"1")
        ]
