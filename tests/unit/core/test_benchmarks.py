"""The benchmarks are found by name, each says in a line what it is, and options are its own."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jielong.cli import main
from jielong.core import benchmarks as module

ECHO = '''"""Say the options."""
import sys
import shared

if __name__ == "__main__":
    print(shared.WORD, *sys.argv[1:])
'''


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a benchmark of two words, and a file that is a part of it."""
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    (tmp_path / "pyproject.toml").touch()
    (folder / "say_it.py").write_text(ECHO)
    (folder / "shared.py").write_text('"""A part."""\nWORD = "said"\n')
    monkeypatch.setattr(module, "CHECKOUT", tmp_path)
    monkeypatch.setattr(module, "FOLDER", folder)
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return folder


def test_every_benchmark_of_ours_says_in_a_line_what_it_is(repository: Path) -> None:
    found = module.benchmarks()
    assert {"training", "time-to-loss", "checkpointing", "memory"} <= set(found)
    assert "peers" not in found
    for name, line in found.items():
        assert line.endswith("."), name
        assert (repository / "benchmarks" / f"{name.replace('-', '_')}.py").is_file()


def test_the_pages_and_heads_of_scripts_call_what_there_is(repository: Path) -> None:
    paths = [*repository.glob("docs/**/*.md"), *repository.glob("benchmarks/*.py")]
    called = [
        (path.name, name)
        for path in paths
        for name in re.findall(r"jielong bench ([a-z][a-z-]*)", path.read_text(encoding="utf-8"))
    ]
    assert len(called) > 20
    assert [(page, name) for page, name in called if name not in module.benchmarks()] == []


def test_without_a_name_they_are_listed(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench"]) == 0
    assert capsys.readouterr().out == "say-it  Say the options.\n"


def test_options_are_passed_on_as_they_are(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "say-it", "--rounds", "3", "--help"]) == 0
    assert capsys.readouterr().out == "said --rounds 3 --help\n"


def test_an_unknown_name_and_a_missing_peer_are_one_line(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "say_it"]) == 1
    assert capsys.readouterr().err == "bench: say_it: no such benchmark: did you mean 'say-it'?\n"
    (checkout / "say_it.py").write_text("import no_such_peer.part\n# __main__\n")
    assert main(["bench", "say-it"]) == 1
    said = capsys.readouterr().err
    assert "compares with no_such_peer" in said
    assert said.count("\n") == 1
    (checkout / "say_it.py").write_text("import jielong.no_such_part\n# __main__\n")
    with pytest.raises(ModuleNotFoundError):  # a bug of ours is not the user's to mend
        main(["bench", "say-it"])


def test_an_installed_package_has_none(tmp_path: Path, repository: Path) -> None:
    shutil.copytree(repository / "jielong", tmp_path / "jielong")
    (tmp_path / "benchmarks").mkdir()  # another package's
    done = subprocess.run(
        [sys.executable, "-m", "jielong", "bench"],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "an installed package has none" in done.stderr
