"""The text of a PDF, page by page, with the lines that only the page's width broke rejoined."""

import logging
import re
from collections.abc import Iterator
from unicodedata import east_asian_width

from jielong.core.optional import load
from jielong.data.decoding import Fault
from jielong.data.readers.find import InputFile
from jielong.data.readers.streams import reason

_FULL = 0.9  # of the widest line: a line that the next word would have made wider was broken for it
_CJK_END = re.compile(r"[\u3000-\u303f\u3400-\u4dbf\u4e00-\u9fff\uff00-\uffef]$")
_CJK_START = re.compile(r"[\u3001-\u303f\u3400-\u4dbf\u4e00-\u9fff\uff00-\uffef]")
_HYPHENATED = re.compile(r"[A-Za-z]-$")
_FIRST_WORD = re.compile(r"[\x21-\u2e7f]+|.?")
_NEW_BLOCK = re.compile(r"[\s•·▪◦*–—-]|\d+[.)、]|[（(]?[一二三四五六七八九十]+[、）)]")


def pages(file: InputFile, faults: list[Fault]) -> Iterator[str]:
    """The text of each page; a page that cannot be read is added to `faults` by its number."""
    pypdf = load("pypdf", "reading .pdf")
    logging.getLogger("pypdf").setLevel(logging.ERROR)  # it mends small faults and tells of each
    with file.path.open("rb") as stream:
        try:
            reader = pypdf.PdfReader(stream)
            if reader.is_encrypted:
                faults.append(Fault(0, "encrypted"))
                return
            count = len(reader.pages)
        except Exception as error:  # noqa: BLE001 - a broken file may raise anything there
            faults.append(Fault(0, f"not PDF ({reason(error)})"))
            return
        for number in range(count):
            try:
                text = reader.pages[number].extract_text()
            except Exception as error:  # noqa: BLE001 - the same of a broken page
                faults.append(Fault(number, f"this page cannot be read ({reason(error)})"))
            else:
                yield unwrapped(text.encode("utf-8", "ignore").decode()) + "\n\n"


def unwrapped(text: str) -> str:
    """The text of a page with its broken lines rejoined.

    A line was broken if the first word of the next one would have made it wider than the widest;
    a line that ends before that, or one that begins a list item, is left as it stands.
    """
    lines = text.split("\n")
    widest = max(map(_width, lines))
    joined = ""
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        joined += line.rstrip()
        word = _FIRST_WORD.match(following.strip())
        is_full = _width(line.rstrip()) + _width(word[0] if word else "") >= _FULL * widest
        if not line.strip() or not following.strip() or _NEW_BLOCK.match(following) or not is_full:
            joined += "\n"
        elif _HYPHENATED.search(line.rstrip()) and following[0].islower():
            joined = joined[:-1]
        elif not (_CJK_END.search(line.rstrip()) or _CJK_START.match(following)):
            joined += " "
    return joined.strip("\n")


def _width(text: str) -> int:
    """The width of a line in columns: an ideograph takes two."""
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)
