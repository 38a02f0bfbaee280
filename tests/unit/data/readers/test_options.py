import pytest

from jielong.core import config
from jielong.core.errors import ConfigError
from jielong.data.readers.options import FileOptions


@pytest.mark.parametrize(
    "encoding", ["auto", "gb18030", "UTF-16", "utf-16-be", "utf-8-sig", "big5"]
)
def test_codecs_of_text_are_taken(encoding: str) -> None:
    assert FileOptions(encoding=encoding).encoding == encoding


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoding": "gb-18030-of-mine"}, r"encoding: 'gb-18030-of-mine': 'auto' or a codec"),
        ({"encoding": "rot13"}, "encoding: 'rot13'"),
        ({"encoding": "undefined"}, "encoding: 'undefined': 'auto' or a codec"),
        ({"encoding": "idna"}, "encoding: 'idna'"),
        ({"encoding": "utf-32"}, "encoding: 'utf-32'"),
        ({"encoding": "cp037"}, "encoding: 'cp037'"),
        ({"document_bytes": 0}, "document_bytes: 0: must be above 0"),
        ({"max_record_mb": -1.0}, r"max_record_mb: -1\.0: must be above 0"),
        ({"column": "text"}, "column: no such setting"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config.parse(FileOptions, settings)


def test_a_megabyte_is_a_million_bytes() -> None:
    assert FileOptions(max_record_mb=0.5).max_record_bytes == 500_000
