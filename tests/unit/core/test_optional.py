import sys

import pytest

from jielong.core.errors import DataError
from jielong.core.optional import load


def test_a_module_that_is_there_is_loaded() -> None:
    assert load("json.decoder", "reading JSON") is sys.modules["json.decoder"]


def test_a_module_that_is_missing_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    expected = r"^reading \.parquet needs pyarrow: pip install 'jielong\[data\]'$"
    with pytest.raises(DataError, match=expected):
        load("pyarrow", "reading .parquet")
    with pytest.raises(DataError, match=r"needs nowhere: pip install 'jielong\[x\]'"):
        load("nowhere.inside", "this", extra="x")
