"""However text arrives and is encoded, it is the same text."""

import csv
import io
import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from jielong.data.decoding import decode, texts
from jielong.data.readers.cut import cut
from jielong.data.readers.find import InputFile
from jielong.data.readers.options import FileOptions
from jielong.data.readers.rows import separated

pieces = st.sampled_from(
    ["\n", "\n\n", "。", ". ", "字", "a word", "🙂", "é", " ", "长句子没有标点"]
)
documents = st.lists(pieces, max_size=60).map("".join)


class Dribble(io.BytesIO):
    """A stream that gives few bytes at a time, as the network does."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        super().__init__(data)
        self.sizes = sizes

    def read(self, size: int | None = -1, /) -> bytes:
        step = self.sizes[self.tell() % len(self.sizes)]
        return super().read(step if size is None or size < 0 else min(step, size))


@given(documents, st.integers(1, 60), st.lists(st.integers(1, 9), min_size=1))
def test_where_text_is_cut_does_not_depend_on_how_it_arrives(
    text: str, size: int, steps: list[int]
) -> None:
    chunks, start = [], 0
    while start < len(text):
        step = steps[len(chunks) % len(steps)]
        chunks.append(text[start : start + step])
        start += step
    found = list(cut(chunks, size))
    assert found == list(cut([text], size))
    assert all(len(piece.encode()) <= max(size, 4) for piece in found)
    assert re.sub(r"\s", "", "".join(found)) == re.sub(r"\s", "", text)


@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\ufeff")),
    st.sampled_from(["utf-8", "utf-8-sig", "gb18030", "utf-16", "utf-16-be"]),
    st.lists(st.integers(1, 7), min_size=1),
)
def test_a_named_encoding_gives_back_any_text(text: str, encoding: str, sizes: list[int]) -> None:
    faults = []
    stream = Dribble(text.encode(encoding), sizes)
    assert "".join(texts(stream, encoding, faults)) == text
    assert faults == []


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\ufeff")))
def test_utf8_needs_no_name(text: str) -> None:
    assert decode(text.encode()) == text


cells = st.text(st.sampled_from('a字",\n '), min_size=1, max_size=12).filter(str.strip)


@given(st.lists(cells, min_size=1, max_size=8), st.data())
def test_damage_in_one_csv_row_costs_only_that_row(rows: list[str], data: st.DataObject) -> None:
    written = []
    for row in ["text", *rows]:
        buffer = io.StringIO()
        csv.writer(buffer).writerow([row])
        written.append(buffer.getvalue().encode())
    hit = data.draw(st.integers(1, len(rows)))
    place = data.draw(st.integers(0, len(written[hit]) - 2))
    written[hit] = written[hit][:place] + b"\xff" + written[hit][place:]
    file = InputFile(path=Path("a.csv"), name="a.csv", format="csv")
    faults = []
    found = separated(file, io.BytesIO(b"".join(written)), FileOptions(encoding="utf-8"), faults)
    assert [text for _, text in found] == rows[: hit - 1] + rows[hit:]
    assert len(faults) == 1
