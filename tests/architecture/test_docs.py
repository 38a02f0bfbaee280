"""What the pages say is so: links lead somewhere, commands parse, both languages agree."""

import contextlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from jielong.cli import make_parser

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
ENGLISH_ONLY = {"decisions.md"}  # a record of how the project came about, kept in one language
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")
HEADING = re.compile(r"^#+\s+(.+?)\s*$", re.MULTILINE)
SHELL = {"", "bash", "console", "sh", "shell"}
COMMAND_ENDS = {"|", "||", "&", "&&", ";", ">", ">>", "<", "2>", "2>&1"}


def commands(text: str) -> Iterator[list[str]]:
    """Each command of the shell blocks in `text`, in words; a pipe or a redirection ends it."""
    for language, block in FENCE.findall(text):
        if language not in SHELL:
            continue
        for line in block.replace("\\\n", " ").splitlines():
            lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            try:
                words = list(lexer)
            except ValueError:  # a transcript's line with a lone quote is no command
                continue
            command: list[str] = []
            for word in [*words, ";"]:
                if word in COMMAND_ENDS:
                    if command:
                        yield command
                    command = []
                else:
                    command.append(word)


def command_lines(program: str) -> list[tuple[str, list[str]]]:
    """Every call of `program` on our pages, as (page, arguments)."""
    return [
        (page.relative_to(ROOT).as_posix(), words[1:])
        for page in PAGES
        for words in commands(page.read_text(encoding="utf-8"))
        if words[0] in {program, f".venv/bin/{program}"}
    ]


def anchor(heading: str) -> str:
    """The fragment under which a heading can be linked."""
    plain = re.sub(r"[^\w\- ]", "", heading.lower())
    return plain.replace(" ", "-")


def test_commands_are_read_from_shell_blocks_only() -> None:
    page = "```bash\n$ jielong chat \\\n  runs/x  # talk\n"
    page += 'echo "a b" | jielong tokenizer encode > f\n```\n'
    page += "```python\njielong = 1\n```\n"
    assert list(commands(page)) == [
        ["jielong", "chat", "runs/x"],
        ["echo", "a b"],
        ["jielong", "tokenizer", "encode"],
        ["f"],
    ]


@pytest.mark.parametrize(("page", "arguments"), command_lines("jielong"), ids=str)
def test_a_documented_command_parses(page: str, arguments: list[str]) -> None:
    with contextlib.ExitStack() as stack:
        if {"--help", "--version"} & set(arguments):
            stack.enter_context(pytest.raises(SystemExit, match=r"^0$"))
        assert make_parser().parse_args(arguments)
    for argument in arguments:
        if argument.startswith("recipes/"):
            assert (ROOT / argument).is_file(), f"{page}: {argument}"


@pytest.mark.parametrize(("page", "arguments"), command_lines("make"), ids=str)
def test_a_documented_make_target_exists(page: str, arguments: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert {word for word in arguments if "=" not in word} <= targets, page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    prose = FENCE.sub("", text)
    for target in (bracketed or quoted for bracketed, quoted in LINK.findall(prose)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, fragment = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        if fragment and path.suffix == ".md":
            headings = HEADING.findall(FENCE.sub("", path.read_text(encoding="utf-8")))
            assert fragment in map(anchor, headings), target


def test_both_languages_have_every_page() -> None:
    pages = {
        language: {
            path.relative_to(ROOT / "docs" / language).as_posix()
            for path in (ROOT / "docs" / language).glob("**/*.md")
        }
        for language in ("en", "zh")
    }
    assert pages["en"] - ENGLISH_ONLY == pages["zh"]
    assert pages["zh"]
    assert (ROOT / "README.zh.md").is_file()


@pytest.mark.parametrize(
    ("page", "most"), [("README.md", 150), ("README.zh.md", 150), ("CONTRIBUTING.md", 80)]
)
def test_a_page_stays_short(page: str, most: int) -> None:
    assert len((ROOT / page).read_text(encoding="utf-8").splitlines()) <= most
