"""The index finds what reading everything finds."""

import unicodedata
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from hypothesis import given
from hypothesis import strategies as st

from jielong.core.run_dir import RunDir
from jielong.data.passages import find
from jielong.data.prepared import open_prepared
from tests.corpus import documents, write_prepared

RECORDS = [record for side in documents().values() for record in side]


@cache
def run() -> RunDir:
    return open_prepared(write_prepared(Path(mkdtemp()) / "run"))


def letters(text: str) -> str:
    """Letters and digits in one width and one case."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(character for character in folded if character.isalnum())


@st.composite
def quotations(draw: st.DrawFn) -> str:
    """A piece of some document, now and then with a character added."""
    text = str(draw(st.sampled_from(RECORDS))["text"])
    start = draw(st.integers(0, len(text) - 1))
    piece = text[start : start + draw(st.integers(1, 60))]
    place = draw(st.integers(0, len(piece)))
    return piece[:place] + draw(st.sampled_from(["", "", "，", " ", "雾", "7"])) + piece[place:]


@given(quotations().filter(letters))
def test_every_document_that_holds_it_and_no_other(quotation: str) -> None:
    holding = [r["id"] for r in RECORDS if letters(quotation) in letters(str(r["text"]))]
    found = find(run(), quotation, len(RECORDS))
    assert [hit.id for hit in found.hits] == holding
    assert all(letters(hit.passage) == letters(quotation) for hit in found.hits)
    assert all(0 < hit.share < 1 for hit in found.near)
