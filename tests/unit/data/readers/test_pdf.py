"""PDFs that are written here, byte by byte, as the format's specification says."""

from pathlib import Path

import pytest

from jielong.data.documents import Document, Rejected
from jielong.data.readers.find import find
from jielong.data.readers.options import FileOptions
from jielong.data.readers.pdf import unwrapped
from jielong.data.readers.records import records


def pdf(*pages: list[str]) -> bytes:
    """A PDF with a page for each list of lines; a line is shown in Latin or in GBK."""
    fonts = (
        b"<< /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> /F2 << /Type /Font "
        b"/Subtype /Type0 /BaseFont /Song /Encoding /GBK-EUC-H /DescendantFonts [<< /Type /Font "
        b"/Subtype /CIDFontType0 /BaseFont /Song /CIDSystemInfo << /Registry (Adobe) "
        b"/Ordering (GB1) /Supplement 2 >> /DW 1000 >>] >> >>"
    )
    count = len(pages)
    kids = " ".join(f"{3 + 2 * i} 0 R" for i in range(count))
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>"]
    objects += [f"<< /Type /Pages /Kids [{kids}] /Count {count} >>".encode()]
    for number, lines in enumerate(pages):
        shown = "".join(
            f"/F1 12 Tf ({line}) Tj T*\n"
            if line.isascii()
            else f"/F2 12 Tf <{line.encode('gbk').hex()}> Tj T*\n"
            for line in lines
        )
        stream = f"BT 14 TL 72 720 Td\n{shown}ET".encode()
        content = b"%d 0 R" % (4 + 2 * number)
        objects += [
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents "
            + content
            + b" /Resources << /Font "
            + fonts
            + b" >> >>",
            b"<< /Length %d >>\nstream\n%b\nendstream" % (len(stream), stream),
        ]
    data, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(data))
        data += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    start, size = len(data), len(objects) + 1
    data += b"xref\n0 %d\n0000000000 65535 f \n%b" % (size, table)
    return data + b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (size, start)


def read(folder: Path, data: bytes) -> list[Document | Rejected]:
    (folder / "a.pdf").write_bytes(data)
    [file] = find([str(folder / "a.pdf")])
    return list(records(file, FileOptions()))


def test_broken_lines_are_rejoined_on_each_page(tmp_path: Path) -> None:
    pages = [
        ["A short title", "The ferry crosses the river every", "morning, and its pas-", "sengers"],
        ["很久以前，这里有一座木头做的", "桥，桥上每天有人经过。", "后来桥断了。"],
    ]
    [document] = read(tmp_path, pdf(*pages))
    assert isinstance(document, Document)
    assert document.text == (
        "A short title\nThe ferry crosses the river every morning, and its pas-\nsengers\n\n"
        "很久以前，这里有一座木头做的桥，桥上每天有人经过。\n后来桥断了。"
    )
    assert (document.key, document.group) == ("a.pdf/0", "a.pdf/0")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "the bridges that cross the ri-\nver are old and made of wood",
            "the bridges that cross the river are old and made of wood",
        ),
        (
            "a line that is as wide as all\nothers. A list begins after it\n1. one\n2. two",
            "a line that is as wide as all others. A list begins after it\n1. one\n2. two",
        ),
        (
            "这一行和别的行一样宽的文字\n接着写，就写完了。\n短\n另起一段",
            "这一行和别的行一样宽的文字接着写，就写完了。\n短\n另起一段",
        ),
        (
            "用中文写的时候会用到的English\nwords 也是一样的道理没有区别啊",
            "用中文写的时候会用到的English words 也是一样的道理没有区别啊",
        ),
        ("one\n\n\ntwo", "one\n\n\ntwo"),
        ("", ""),
    ],
)
def test_only_lines_that_the_width_broke_are_rejoined(text: str, expected: str) -> None:
    assert unwrapped(text) == expected


def test_what_is_no_pdf_is_rejected(tmp_path: Path) -> None:
    [rejected] = read(tmp_path, b"this is no PDF at all")
    assert isinstance(rejected, Rejected)
    assert rejected.reason.startswith("not PDF (")
    [rejected] = read(tmp_path, pdf(["text"])[:200])
    assert isinstance(rejected, Rejected)
    [rejected] = read(tmp_path, pdf([]))
    assert isinstance(rejected, Rejected)
    assert rejected.reason == "it holds no text"


def test_an_encrypted_pdf_is_rejected(tmp_path: Path) -> None:
    from pypdf import PdfReader, PdfWriter

    (tmp_path / "plain.pdf").write_bytes(pdf(["a secret"]))
    writer = PdfWriter(clone_from=PdfReader(tmp_path / "plain.pdf"))
    writer.encrypt("password", algorithm="RC4-128")
    writer.write(tmp_path / "locked.pdf")
    [rejected] = read(tmp_path, (tmp_path / "locked.pdf").read_bytes())
    assert rejected == Rejected(file="a.pdf", offset=0, reason="encrypted")
