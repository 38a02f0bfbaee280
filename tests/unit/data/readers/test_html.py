import io

import pytest

from jielong.data.decoding import Fault
from jielong.data.readers.html import main_text, page
from jielong.data.readers.options import FileOptions

PAGE = """<!DOCTYPE html>
<html><head><title>Not this</title><style>p { color: red }</style></head>
<body>
<header><h1>The site's name</h1></header>
<nav><a href="/">Home</a></nav>
<div class="menu"><ul><li><a>首页</a></li><li><a>新闻</a></li><li><a>关于我们</a></li></ul></div>
<h1>猫的
 一天</h1>
<!-- a remark -->
<p>早上，猫<b>醒</b>来了。
   它看了看
   窗外，see <a href="x">the birds</a>
   outside &amp; yawned.<br>Then it slept.<br><br>And slept.</p>
<script>var hidden = "text";</script>
<pre><code>def cat(hours):
    return  hours &gt; 9<br>cat(8)
</code></pre>
<ul><li>fish</li><li>milk, in a <a>bowl</a></li></ul>
<table><tr><th>day</th><th>naps</th></tr><tr><td>1</td><td>12</td></tr></table>
<form>Name: <input><button>Send</button></form>
<div>后来<div>天黑了。</div></div>
<aside>Also read this</aside><footer>Rights reserved</footer>
</body></html>"""

TEXT = """猫的一天

早上，猫醒来了。它看了看窗外，see the birds outside & yawned.
Then it slept.

And slept.

def cat(hours):
    return  hours > 9
cat(8)

fish
milk, in a bowl

day naps
1 12

后来
天黑了。"""


def test_the_main_text_keeps_its_blocks_and_its_code() -> None:
    assert main_text(PAGE) == TEXT


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("", ""),
        ("  \n ", ""),
        ("no tags at all", "no tags at all"),
        ("<p>unclosed <b>tags<p>and more", "unclosed tags\n\nand more"),
        ("<?xml version='1.0' encoding='gbk'?><html><body>好</body></html>", "好"),
        ("<p>a<!-- b -->c<?d e?>f</p>g", "acf\n\ng"),
        ("<pre>\n  x\n    y\n</pre>", "  x\n    y"),
    ],
)
def test_odd_pages(source: str, text: str) -> None:
    assert main_text(source) == text


def test_deep_nesting_is_no_problem() -> None:
    assert main_text("<div>" * 1000 + "deep" + "</div>" * 1000) == "deep"


def test_a_block_of_links_is_a_menu_but_a_text_with_links_is_not() -> None:
    links = "".join(f"<a>link {i}</a> " for i in range(5))
    assert main_text(f"<div>{links}</div><div>A text of some length, with {links}</div>") == (
        "A text of some length, with link 0 link 1 link 2 link 3 link 4"
    )
    assert main_text("<div><a>only one link</a></div>") == "only one link"


def read(data: bytes, **settings: object) -> tuple[str, list[Fault]]:
    faults: list[Fault] = []
    return "".join(page(io.BytesIO(data), FileOptions(**settings), faults)), faults  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [
        ("gb2312", "gb18030"),
        ("big5", "cp950"),
        ("iso-8859-1", "cp1252"),
        ("utf-8", "gb18030"),
        ("koi8-r", "koi8-r"),
        ("x-sjis", "cp932"),
        ("EUC-KR", "cp949"),
        ("euc-jp", "euc_jp"),
    ],
)
def test_the_charset_is_what_the_page_says_where_that_is_possible(
    declared: str, encoding: str
) -> None:
    text = {
        "gb18030": "镕基，龘，€",
        "cp950": "中文網頁",
        "cp1252": "café “déjà vu”",
        "koi8-r": "Утром мы пошли к реке.",
        "cp932": "朝は川まで歩きました①",
        "cp949": "아침에 강가로 나갔다. 똠",
        "euc_jp": "朝は川まで歩きました",
    }[encoding]
    source = f'<meta http-equiv="Content-Type" content="text/html; charset={declared}"><p>{text}'
    if declared == "utf-8":  # which is wrong: these bytes are GB18030
        text = "这一页的内容其实是另一种编码。"
        source = f"<meta charset='{declared}'><p>{text}"
    assert read(source.encode(encoding)) == (text, [])


def test_utf8_proves_itself_against_a_wrong_charset() -> None:
    assert read("<meta charset=gbk><p>你好，世界".encode()) == ("你好，世界", [])
    assert read(b"<meta charset=none-such><p>ok") == ("ok", [])
    assert read("<p>你好".encode("utf-16")) == ("你好", [])


@pytest.mark.parametrize(
    "label",
    "hex rot13 base64 bz2 undefined unicode_escape raw_unicode_escape idna punycode utf-7 utf-16 "
    "utf-32 utf-16le hz cp037 x- ..".split(),
)
def test_what_is_no_code_page_counts_as_not_declared(label: str) -> None:
    text = "这一页的内容其实是另一种编码。"
    for encoding in ("gb18030", "utf-8"):
        page_ = f"<meta charset={label}><p>{text}".encode(encoding)
        assert read(page_) == (text, [])
    _, [fault] = read(f"<meta charset={label}><p>".encode() + b"\xe9t\xe9 \xe0 la mer")
    assert fault.reason.startswith("neither UTF-8")


def test_a_page_that_is_nested_too_deep_for_the_parser_is_refused_whole() -> None:
    text, faults = read(b"<p>before</p>" + b"<div>" * 5000 + b"deep")
    assert (text, faults) == ("", [Fault(0, "its elements are nested more than about 2,000 deep")])


def test_a_page_that_cannot_be_read_is_refused_whole() -> None:
    text, faults = read(b"<p>fine</p>" + b"x" * 1000, max_record_mb=0.001)
    assert (text, [fault.reason for fault in faults]) == ("", ["a page of more than 1,000 bytes"])
    text, faults = read(b"<p>fine</p>\0\0")
    assert (text, [fault.offset for fault in faults]) == ("", [11])
