"""What must not stand here: one machine's paths, hosts, dead references, other people's text."""

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pytest
from numpy.typing import NDArray

from jielong.data.archives import Member, read
from jielong.data.documents import pack
from jielong.data.extract import corpus
from jielong.data.fetch import Cache
from jielong.data.sources import table

# The patterns are written so that they do not find themselves.
FORBIDDEN = {
    "a path of one machine": r"(?<![\w.~/-])/(?:home|root|Users|tmp|work|opt|mnt|srv)/\w",
    "a package index or download host": (
        r"(?i)\b(?:pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|(?:deb|snapshot)\.debian\.org"
        r"|download\.pytorch\.org|hf-mirror\.com|mirrors?\.[a-z]+\.(?:edu\.cn|com|org))\b"
    ),
    "a ticket that a reader cannot look up": (
        r"(?i)\bissues?\s+#?\d+|\b(?:fix(?:es)?|closes?|see|PR)\s+#\d+"
    ),
}
PAGE = re.compile(r"[\w./-]*[\w-]\.md\b")
HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
UNIT = re.compile(f"[{HAN}]|[0-9A-Za-z\u00c0-\u024f]+")
WORD = re.compile(f"[{HAN}]|[a-z\u00c0-\u024f]{{2,}}")
N = 13
WORDS_IN_GRAM = 7  # fewer than this and the gram is a row of numbers or letters, nobody's text


@pytest.mark.parametrize("what", FORBIDDEN)
def test_nothing_forbidden_stands_in_a_tracked_file(what: str, tracked: dict[str, str]) -> None:
    pattern = re.compile(FORBIDDEN[what])
    own = "tests/architecture/test_no_leaks.py"
    found = [
        f"{name}:{number}: {match[0]}"
        for name, text in tracked.items()
        if name != own
        for number, line in enumerate(text.splitlines(), start=1)
        for match in pattern.finditer(line)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("a path of one machine", 'open("/home/me/x")'),
        ("a package index or download host", "https://pypi.org/simple"),
        ("a ticket that a reader cannot look up", "as issue 7 asks"),
        ("a ticket that a reader cannot look up", "fixes #12"),
    ],
)
def test_each_pattern_finds_its_example(what: str, line: str) -> None:
    assert re.search(FORBIDDEN[what], line)


def test_every_page_that_is_named_exists(tracked: dict[str, str], repository: Path) -> None:
    names = {Path(name).name for name in tracked if name.endswith(".md")}
    missing = [
        f"{name}: {page}"
        for name, text in tracked.items()
        if not name.startswith("tests/")
        for page in PAGE.findall(text)
        if Path(page).name not in names
    ]
    assert missing == []


class Index:
    """The 13-grams of some texts, as 64-bit hashes; a unit is a Han character or a run."""

    def __init__(self, texts: dict[str, str]) -> None:
        units = {name: UNIT.findall(text.lower()) for name, text in texts.items()}
        vocabulary = sorted({unit for listed in units.values() for unit in listed})
        self.ids = {unit: number for number, unit in enumerate(vocabulary, start=1)}
        rng = np.random.default_rng(0)
        self.mixed = rng.integers(0, 2**64, size=(N, len(vocabulary) + 1), dtype=np.uint64)
        self.grams: dict[int, str] = {}
        for name, listed in units.items():
            if len(listed) < N:
                continue
            is_word = np.array(
                [WORD.fullmatch(unit) is not None for unit in listed], dtype=np.int64
            )
            words = np.convolve(is_word, np.ones(N, dtype=np.int64), mode="valid")
            for start, gram in enumerate(self.hashes(listed).tolist()):
                if words[start] >= WORDS_IN_GRAM:
                    self.grams[gram] = f"{name}: {' '.join(listed[start : start + N])}"
        self.sorted = np.array(sorted(self.grams), dtype=np.uint64)

    def hashes(self, units: list[str]) -> NDArray[np.uint64]:
        """One hash per 13 units; a unit we never use makes its grams match none of ours."""
        if len(units) < N:
            return np.empty(0, dtype=np.uint64)
        ids = np.array([self.ids.get(unit, 0) for unit in units])
        count = len(ids) - N + 1
        total = np.zeros(count, dtype=np.uint64)
        for offset in range(N):
            total += self.mixed[offset, ids[offset : offset + count]]
        return total

    def shared(self, text: str) -> list[str]:
        """Where our texts repeat 13 units of `text`."""
        found = np.intersect1d(self.sorted, self.hashes(UNIT.findall(text.lower())))
        return [self.grams[gram] for gram in found.tolist()]


@pytest.fixture(scope="module")
def index(tracked: dict[str, str]) -> Index:
    return Index({name: text for name, text in tracked.items() if name != "LICENSE"})


def cached_sources() -> Iterator[tuple[str, str]]:
    """The text of each source that lies in this machine's cache, a few megabytes at a time.

    Verse is read as we would tell it: the files are in another script than our pages.
    """
    cache = Cache(directory=Path.home() / ".cache" / "jielong")
    for source in table().values():
        path = cache.place(source.archive) if source.archive else None
        if path is not None and path.is_file():
            for part in source.parts:
                members = read(source, path, part)
                if source.id.startswith("poetry-"):
                    texts = (found.text for found in corpus.documents(source.id, members))
                else:
                    texts = map(text_of, members)
                for text in pack(texts, 4_000_000):
                    yield source.id, text


def text_of(member: Member) -> str:
    """What a reader would see of a file."""
    data = gzip.decompress(member.data) if member.name.endswith(".gz") else member.data
    if member.name.endswith(".json"):
        return json.dumps(json.loads(data), ensure_ascii=False)
    return data.decode("utf-8", errors="ignore")


def test_no_text_of_a_source_is_committed(index: Index) -> None:
    texts = [("stdlib", "\n".join(topics.values())), *cached_sources()]
    assert {name: shared for name, text in texts if (shared := index.shared(text))} == {}


def test_a_copied_run_is_found_whatever_its_dress() -> None:
    ours = Index({"page": "我们 yesterday 在河边 wrote about 七 boats, 三 lamps 和一只猫。"})
    copied = "...在河边 WROTE about——七 boats（三 lamps）和一只猫"
    assert ours.shared(copied) == ["page: 在 河 边 wrote about 七 boats 三 lamps 和 一 只 猫"]
    assert ours.shared(copied[:-1]) == []


def test_a_row_of_numbers_is_nobodys_text() -> None:
    numbers = " ".join(map(str, range(40)))
    assert Index({"page": numbers}).shared(numbers) == []
