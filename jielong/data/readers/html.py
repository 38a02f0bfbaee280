"""The main text of a web page: its blocks as lines and paragraphs, its code as it stands.

No judgement is made beyond two plain rules: what a page's author marked as navigation, form or
ornament is left out, and so is a block that is mostly links.
"""

import codecs
import re
from collections.abc import Iterator
from typing import Any

from jielong.core.optional import load
from jielong.data.decoding import ByteStream, Fault, UndecodableError, decode
from jielong.data.readers.options import FileOptions

_LEFT_OUT = frozenset(
    "script style nav header footer aside form head noscript template svg iframe object button "
    "select textarea".split()
)
_PARAGRAPHS = frozenset(
    "p h1 h2 h3 h4 h5 h6 blockquote pre ul ol dl table section article main figure hr".split()
)
_LINES = frozenset("div li tr dt dd caption figcaption address summary details center".split())
_CELLS = frozenset(("td", "th"))
_MENUS = frozenset("div section ul ol dl table".split())
_MENU_LINKS = 3
_MENU_LINK_SHARE = 0.6  # of the characters of a block: more in links makes it a menu
_DECLARED = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE)
_DECLARED_WITHIN_BYTES = 4096
_WIDER = {
    "ascii": "cp1252",
    "big5": "cp950",
    "euc_kr": "cp949",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "shift_jis": "cp932",
    "tis-620": "cp874",
}
"""Pages name the smaller code page and use the larger one that contains it."""
_CODE_PAGES = frozenset(
    "big5hkscs cp866 cp874 cp932 cp949 cp950 cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 "
    "cp1257 cp1258 euc_jp gb18030 iso8859-2 iso8859-3 iso8859-4 iso8859-5 iso8859-6 iso8859-7 "
    "iso8859-8 iso8859-10 iso8859-13 iso8859-14 iso8859-15 iso8859-16 koi8-r koi8-u mac-cyrillic "
    "mac-roman utf-8".split()
)
"""What a page may declare: codecs of Python, but for those that are no code pages of text."""
_CJK = "\u3000-\u303f\u3400-\u4dbf\u4e00-\u9fff\uff00-\uffef"
_NESTED_TOO_DEEP = "depth"  # in what libxml2 says of it, under numbers that have changed
_WRAPPED_CJK = re.compile(rf"(?<=[{_CJK}])[ \t]*\n\s*(?=[{_CJK}])")


def page(stream: ByteStream, options: FileOptions, faults: list[Fault]) -> Iterator[str]:
    """The main text of one page, which is refused whole where a part cannot be read."""
    data = stream.read(options.max_record_bytes + 1)
    if len(data) > options.max_record_bytes:
        faults.append(Fault(0, f"a page of more than {options.max_record_bytes:,} bytes"))
    if faults:
        return
    try:
        yield main_text(_decoded(data, options.encoding))
    except UndecodableError as error:
        faults.append(error.fault)
    except _TooDeepError:
        faults.append(Fault(0, "its elements are nested more than about 2,000 deep"))


def main_text(source: str) -> str:
    """The text of an HTML page without its navigation, forms and scripts."""
    etree = load("lxml.etree", "reading .html")
    parser = etree.HTMLParser(
        encoding="utf-8", huge_tree=True, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(source.encode(), parser)
    except etree.XMLSyntaxError:  # a page without a single element
        root = None
    if any(_NESTED_TOO_DEEP in error.message for error in parser.error_log):
        raise _TooDeepError
    if root is None:
        return ""
    writer = _Writer()
    menus = _menus(root, etree)
    walk = etree.iterwalk(root, events=("start", "end"))
    for event, element in walk:
        if event == "start":
            if _is_left_out(element) or element in menus:
                walk.skip_subtree()
                writer.end_line()
            elif element.tag == "pre":
                walk.skip_subtree()
                writer.write_code(_code(element))
            else:
                writer.enter(element.tag)
                writer.write(element.text or "")
        else:
            writer.leave(element.tag)
            if element is not root:
                writer.write(element.tail or "")
    return writer.text()


def _decoded(data: bytes, encoding: str) -> str:
    """UTF-8 proves itself; else what the page says of itself is tried before what it looks like."""
    if encoding != "auto":
        return decode(data, encoding)
    declared = _DECLARED.search(data[:_DECLARED_WITHIN_BYTES])
    tries = ["utf-8", *([_codec(declared[1].decode("ascii"))] if declared else [])]
    for codec in dict.fromkeys(tries):
        try:
            return decode(data, codec)
        except UndecodableError:
            continue
    return decode(data)


def _codec(label: str) -> str:
    """The codec of a code page; of any other name UTF-8, which has been tried already."""
    try:
        name = codecs.lookup(label.lower().removeprefix("x-")).name
    except LookupError:
        return "utf-8"
    name = _WIDER.get(name, name)
    return name if name in _CODE_PAGES else "utf-8"


def _is_left_out(element: Any) -> bool:  # noqa: ANN401 - an element of lxml
    return element.tag in _LEFT_OUT


def _menus(root: Any, etree: Any) -> set[Any]:  # noqa: ANN401 - lxml is loaded only when needed
    """The blocks that are mostly links, judged from the leaves up."""
    characters: dict[Any, int] = {}
    linked: dict[Any, int] = {}
    links: dict[Any, int] = {}
    menus = set()
    for _, element in etree.iterwalk(root, events=("end",)):
        parts = [child for child in element if child in characters]
        own = [element.text, *(child.tail for child in element)]
        if _is_left_out(element):
            continue
        characters[element] = sum(len((text or "").strip()) for text in own)
        characters[element] += sum(characters[child] for child in parts)
        if element.tag == "a":
            linked[element], links[element] = characters[element], 1
        else:
            linked[element] = sum(linked[child] for child in parts)
            links[element] = sum(links[child] for child in parts)
        share = linked[element] / max(characters[element], 1)
        if element.tag in _MENUS and links[element] >= _MENU_LINKS and share > _MENU_LINK_SHARE:
            menus.add(element)
    return menus


def _code(element: Any) -> str:  # noqa: ANN401 - an element of lxml
    for line_break in element.iter("br"):
        line_break.tail = "\n" + (line_break.tail or "")
    return "".join(element.itertext())


class _TooDeepError(Exception):
    """A page of which the parser gives only what stands before its deepest part."""


class _Writer:
    """Text as a browser lays it out: white space is one space, blocks begin on a new line."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._newlines = 0  # that are due before the next text
        self._is_spaced = True  # whether a space here would be the second one

    def enter(self, tag: str) -> None:
        """The beginning of an element."""
        if tag == "br":
            self._newlines = min(self._newlines + 1, 2)
            self._is_spaced = True
        elif tag in _PARAGRAPHS:
            self.end_line(2)
        elif tag in _LINES:
            self.end_line()
        elif tag in _CELLS:
            self.write(" ")

    def leave(self, tag: object) -> None:
        """The end of an element."""
        if tag in _PARAGRAPHS:
            self.end_line(2)
        elif tag in _LINES:
            self.end_line()

    def end_line(self, newlines: int = 1) -> None:
        """Let what follows begin on a new line, or after a blank one."""
        self._newlines = max(self._newlines, newlines)
        self._is_spaced = True

    def write(self, text: str) -> None:
        """Running text."""
        text = re.sub(r"\s+", " ", _WRAPPED_CJK.sub("", text))
        text = text.lstrip() if self._is_spaced else text
        if text:
            self._put(text)
            self._is_spaced = text.endswith(" ")

    def write_code(self, text: str) -> None:
        """Text whose white space is meant."""
        if text.strip():
            self.end_line(2)
            self._put(text.strip("\n"))
        self.end_line(2)

    def text(self) -> str:
        """All that was written."""
        return "".join(self._parts).rstrip()

    def _put(self, text: str) -> None:
        if self._parts and self._newlines:
            self._parts[-1] = self._parts[-1].rstrip(" ")
            self._parts.append("\n" * self._newlines)
        self._newlines = 0
        self._parts.append(text)
