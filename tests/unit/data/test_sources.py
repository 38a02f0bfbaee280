import re

import pytest

from jielong.core.errors import ConfigError
from jielong.data.sources import lookup, table


def test_every_archive_is_pinned_to_one_file() -> None:
    assert set(table()) == {"laws", "cedict", "sanguo", "thuocl", "hsk", "stdlib"}
    for source in table().values():
        assert source.licence
        assert source.attribution
        if source.archive is not None:
            assert re.fullmatch(r"[0-9a-f]{64}", source.archive.sha256)
            name = source.archive.package.replace("-", "_")
            assert source.archive.file.startswith(f"{name}-{source.archive.version}-")
            assert source.archive.file.endswith(".whl")
            assert source.member.startswith(f"{name}/")
            assert source.max_member_mb > 0


def test_share_alike_sources_say_so() -> None:
    for name in ("cedict", "hsk"):
        assert "CC BY-SA 4.0" in lookup(name).attribution


def test_an_unknown_source_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"sources\.wiki: no such source: choose from laws, "):
        lookup("wiki")
