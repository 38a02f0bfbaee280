import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from jielong.core.errors import DataError
from jielong.data.documents import Rejected
from jielong.data.readers.find import InputFile, find
from jielong.data.readers.options import FileOptions
from jielong.data.readers.records import records


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def names(files: Iterable[InputFile]) -> list[str]:
    return [file.name for file in files]


def test_a_folder_gives_all_files_below_it_but_hidden_ones(tmp_path: Path) -> None:
    write(tmp_path, "b.txt", "a/z.md", "a/deep/er/c.JSONL", ".hidden.txt", ".git/x.txt", "p.pdf")
    found = find([str(tmp_path)])
    assert names(found) == ["a/deep/er/c.JSONL", "a/z.md", "b.txt", "p.pdf"]
    assert [file.format for file in found] == ["jsonl", "text", "text", "pdf"]
    assert [file.path for file in found] == [tmp_path / file.name for file in found]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.txt", ["1.txt"]),
        ("*/*.txt", ["a/2.txt", "b/3.txt"]),
        ("**/*.txt", ["1.txt", "a/2.txt", "a/c/4.txt", "b/3.txt"]),
        ("a/**", ["2.txt", "c/4.txt", "c/5.md"]),
        ("**/c/*", ["a/c/4.txt", "a/c/5.md"]),
        ("[ab]/?.txt", ["a/2.txt", "b/3.txt"]),
        ("a", ["2.txt", "c/4.txt", "c/5.md"]),
        ("a/2.txt", ["2.txt"]),
        (".h*/*", ["6.txt"]),
    ],
)
def test_names_begin_where_the_fixed_part_of_a_pattern_ends(
    tmp_path: Path, pattern: str, expected: list[str]
) -> None:
    write(tmp_path, "1.txt", "a/2.txt", "b/3.txt", "a/c/4.txt", "a/c/5.md", ".h/6.txt")
    found = names(find([f"{tmp_path}/{pattern}"]))
    assert [name.removeprefix(".h/") for name in found] == expected


def test_a_file_is_listed_once_however_often_it_is_named(tmp_path: Path) -> None:
    write(tmp_path, "t/a.txt", "t/b.txt")
    (tmp_path / "t" / "0link.txt").symlink_to(tmp_path / "t" / "a.txt")
    patterns = [f"{tmp_path}/t/*.txt", f"{tmp_path}/t", f"{tmp_path}/t/b.txt"]
    assert names(find(patterns)) == ["a.txt", "b.txt"]


def test_loops_of_links_end_and_the_name_without_a_link_is_taken(tmp_path: Path) -> None:
    write(tmp_path, "c/real/one.txt", "c/real/deep/two.txt", "elsewhere/three.txt")
    (tmp_path / "c" / "real" / "loop").symlink_to(tmp_path / "c")
    (tmp_path / "c" / "another").symlink_to(tmp_path / "c" / "real")
    (tmp_path / "c" / "outside").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "c")
    (tmp_path / "c" / "broken.txt").symlink_to(tmp_path / "nothing")
    (tmp_path / "c" / "itself").symlink_to(tmp_path / "c" / "itself")
    expected = ["outside/three.txt", "real/deep/two.txt", "real/one.txt"]
    assert names(find([str(tmp_path / "c")])) == expected
    assert names(find([f"{tmp_path}/c/**/*.txt"])) == expected


def test_folders_that_all_link_to_each_other_take_no_time(tmp_path: Path) -> None:
    for here in range(12):
        write(tmp_path, f"{here}/text.txt")
        for there in range(12):
            (tmp_path / str(here) / f"to{there}").symlink_to(tmp_path / str(there))
    assert len(find([str(tmp_path)])) == 12


def test_equal_names_from_two_patterns_are_told_apart(tmp_path: Path) -> None:
    write(tmp_path, "x/a/1.txt", "y/a/1.txt", "y/a/2.txt")
    found = find([f"{tmp_path}/x/a/*.txt", f"{tmp_path}/y/a"])
    assert names(found) == ["2.txt", "x/a/1.txt", "y/a/1.txt"]


def test_files_without_a_reader_are_listed_for_the_record(tmp_path: Path) -> None:
    write(tmp_path, "a.txt", "b.xyz", "c", "d.pdf.gz", "e.csv.gz", "f.html.zst", "g.tar.gz")
    found = {file.name: (file.format, file.compression) for file in find([str(tmp_path)])}
    assert found == {
        "a.txt": ("text", ""),
        "b.xyz": ("", ""),
        "c": ("", ""),
        "d.pdf.gz": ("", ""),
        "e.csv.gz": ("csv", ".gz"),
        "f.html.zst": ("html", ".zst"),
        "g.tar.gz": ("", ""),
    }


def test_what_cannot_be_found_or_read_is_named(tmp_path: Path) -> None:
    write(tmp_path, "a.xyz", "b.tar.gz", "folder/c.png")
    (tmp_path / "empty").mkdir()
    for pattern in ("none.txt", "*.txt", "none/*.txt", "empty", "a.xyz/*"):
        with pytest.raises(DataError, match=r"^files: .*: no such file: correct the path"):
            find([f"{tmp_path}/{pattern}"])
    with pytest.raises(DataError, match=r"a\.xyz: no reader for \.xyz: give files of \.txt, \.md"):
        find([f"{tmp_path}/a.xyz"])
    with pytest.raises(DataError, match=r"no reader for \.tar\.gz: "):
        find([f"{tmp_path}/b.tar.gz"])
    with pytest.raises(DataError, match=r"no reader for \.png: "):
        find([f"{tmp_path}/folder"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list any folder")
@pytest.mark.parametrize("mode", [0, 0o400])
def test_a_folder_that_may_not_be_read_costs_only_itself(tmp_path: Path, mode: int) -> None:
    write(tmp_path, "a.txt", "locked/b.txt", "open/c.txt")
    (tmp_path / "locked").chmod(mode)
    fault = "this folder cannot be read (Permission denied)"
    for pattern in (str(tmp_path), f"{tmp_path}/**/*.txt"):
        found = [(file.name, file.format, file.fault) for file in find([pattern])]
        assert found == [
            ("a.txt", "text", ""),
            ("locked", "", fault),
            ("open/c.txt", "text", ""),
        ]
    [locked] = (file for file in find([str(tmp_path)]) if file.fault)
    assert [*records(locked, FileOptions())] == [Rejected(file="locked", offset=0, reason=fault)]
    for pattern in ("locked", "locked/*.txt", "locked/b.txt"):
        with pytest.raises(DataError, match=r"locked.*: cannot be read \(Permission denied\)"):
            find([f"{tmp_path}/{pattern}"])
    (tmp_path / "locked").chmod(0o700)


def test_a_home_that_does_not_exist_is_named() -> None:
    with pytest.raises(DataError, match=r"^files: ~no-such-user/x: there is no such user's home"):
        find(["~no-such-user/x"])


def test_a_saved_data_set_is_one_input(tmp_path: Path) -> None:
    for part in ("train", "test"):
        write(
            tmp_path, *(f"set/{part}/{n}" for n in ("state.json", "dataset_info.json", "x.arrow"))
        )
    write(tmp_path, "set/dataset_dict.json", "a.txt")
    assert [(f.name, f.format) for f in find([str(tmp_path)])] == [
        ("a.txt", "text"),
        ("set/test", "dataset"),
        ("set/train", "dataset"),
    ]
    assert names(find([f"{tmp_path}/set/train"])) == ["train"]
    assert names(find([f"{tmp_path}/set/t*"])) == ["test", "train"]
