"""Each source's format, on small ones that we wrote ourselves."""

import gzip
import json
import sqlite3
from pathlib import Path

import pytest

from jielong.core.errors import DataError
from jielong.data.archives import Member
from jielong.data.extract import cedict, corpus, hsk, laws, sanguo, stdlib, thuocl
from jielong.data.splits import is_unseen

COLUMNS = "id, law_id, law_name, chapter, status, article_no, article_no_arabic, article_text"


def laws_database(rows: list[tuple[object, ...]]) -> bytes:
    connection = sqlite3.connect(":memory:")
    connection.execute(f"CREATE TABLE articles ({COLUMNS})")
    connection.executemany("INSERT INTO articles VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    connection.commit()
    data = connection.serialize()
    connection.close()
    return data


def test_articles_in_force_stand_in_order_under_law_and_chapter() -> None:
    rows = [
        (5, "a", "养猫法", "第一章 总则", "现行有效", "第十条", 10, "猫可以睡觉。"),
        (3, "a", "养猫法", "第一章 总则", "现行有效", "第二条", 2, "猫应当吃鱼。\n鱼应当新鲜。"),
        (4, "a", "养猫法", "第二章 附则", "现行有效", "第十一条", 11, "明天施行。"),
        (1, "a", "养猫法", "第一章 总则", "已废止", "第一条", 1, "猫不吃鱼。"),
        (2, "b", "养狗法", None, "现行有效", "第一条", 1, "狗应当散步。"),
    ]
    found = list(laws.documents(laws.parse(laws_database(rows))))
    assert {d.group: d.text for d in found if d.group == "养狗法"} == {
        "养狗法": "养狗法\n\n第一条 狗应当散步。"
    }
    assert [d.text for d in found if d.group == "养猫法"] == [
        "养猫法 第一章 总则\n\n第二条 猫应当吃鱼。\n鱼应当新鲜。\n\n第十条 猫可以睡觉。",
        "养猫法 第二章 附则\n\n第十一条 明天施行。",
    ]
    assert found == list(laws.documents(laws.parse(laws_database(rows[::-1]))))
    assert len({d.id for d in found}) == len(found)


def test_long_laws_are_cut_between_articles() -> None:
    rows = [(i, "a", "长法", "", "现行有效", f"第{i}条", i, "字" * 200) for i in range(9)]
    found = list(laws.documents(laws.parse(laws_database(rows))))
    assert len(found) == 3
    assert all(document.size_bytes < 2100 for document in found)
    assert sum(document.text.count("字") for document in found) == 1800


def test_chapters_are_cut_at_paragraphs() -> None:
    chapter = "第一回 自己写的\u3000小故事\n\n  \n\t" + "\n\n\t".join(["文" * 300] * 5)
    chapters = sanguo.parse(json.dumps([chapter, " \n"]).encode())
    assert [len(paragraphs) for paragraphs in chapters] == [6]
    found = list(sanguo.documents(chapters))
    assert [document.text.count("文") for document in found] == [600, 600, 300]
    assert {document.group for document in found} == {"第一回 自己写的\u3000小故事"}


def hsk_row(number: int, topic: str) -> dict[str, object]:
    return {
        "id": f"x-{number:03}",
        "hsk_level": 1,
        "topic": topic,
        "chinese": f"我有{number}只猫。",
        "translation": {"en": f"I have {number} cats."},
        "tokens": [{"word": "我"}, {"word": "有"}],
    }


def test_sentence_pairs_of_a_topic_stand_together() -> None:
    rows = [hsk_row(i, "cats" if i % 2 else "pets") for i in range(4)]
    found = list(hsk.documents(hsk.parse(json.dumps(rows).encode())))
    assert [d.text for d in found] == [
        "我有1只猫。\nI have 1 cats.\n\n我有3只猫。\nI have 3 cats.",
        "我有0只猫。\nI have 0 cats.\n\n我有2只猫。\nI have 2 cats.",
    ]
    assert found == list(hsk.documents(hsk.parse(json.dumps(rows[::-1]).encode())))


def test_words_are_two_to_six_han_characters() -> None:
    data = {
        "IT": ["\ufeff鼠标", "C语言", "鼠标", "光", "键盘", "一二三四五六七"],
        "成语": ["画蛇添足"],
    }
    assert thuocl.parse(json.dumps(data).encode()) == {
        "计算机": ["鼠标", "键盘"],
        "成语": ["画蛇添足"],
    }


def entries(*lines: str) -> list[cedict.Entry]:
    return cedict.parse(gzip.compress("\n".join(["# comment", *lines]).encode()))


CAT = "貓 猫 [mao1] /cat (pet)/CL:隻|只[zhi1]/kitty; puss/"
NAME = "李 李 [Li3] /surname Li/plum tree/"
IDIOM = "貓上屋頂 猫上屋顶 [mao1 shang4 wu1 ding3] /lit. a cat on the roof (idiom)/fig. to watch/"
POINTER = "喵咪 喵咪 [miao1 mi1] /see 貓咪|猫咪[mao1 mi1]/variant of 貓|猫[mao1]/"


def test_glosses_are_plain_english() -> None:
    found = {entry.word: entry for entry in entries(CAT, NAME, IDIOM, POINTER)}
    assert found["猫"].glosses == ("cat", "kitty", "puss")
    assert found["猫"].pinyin == "māo"
    assert not found["猫"].is_idiom
    assert found["李"].is_name
    assert found["猫上屋顶"].is_idiom
    assert found["猫上屋顶"].glosses == ("a cat on the roof", "to watch")
    assert found["猫上屋顶"].short_gloss == "to watch"
    assert found["喵咪"].glosses == ()
    assert found["喵咪"].short_gloss is None


def test_the_dictionary_is_told_in_sentences() -> None:
    [document] = cedict.documents(entries(CAT, NAME, IDIOM, POINTER))
    assert document.text.splitlines() == [
        "“猫” is read māo and means cat, kitty or puss.",
        "“猫上屋顶”读作 māo shàng wū dǐng，英语是 a cat on the roof or to watch。",
    ]


def test_unseen_headwords_are_not_told() -> None:
    lines = [f"{c} {c} [x1] /one/two/" for c in map(chr, range(0x4E00, 0x4F00))]
    told = "".join(document.text for document in cedict.documents(entries(*lines)))
    unseen = [chr(code) for code in range(0x4E00, 0x4F00) if is_unseen(chr(code))]
    assert unseen
    assert not any(character in told for character in unseen)
    assert sum(chr(code) in told for code in range(0x4E00, 0x4F00)) == 256 - len(unseen)


def test_a_dictionary_that_unpacks_too_far_is_refused() -> None:
    with pytest.raises(DataError, match=r"'cedict'.*unpacked"):
        cedict.parse(gzip.compress(b"#" * 30_000_001))


MODULE = '''
"""What this module is for, told in one line.

And more about it.
"""
raise SystemExit("never imported")
class Box:
    """A box that holds quite a number of things."""
    def open(self, how="gently", *, wide: bool = True):
        """Open the box and look at what is inside of it."""
    def close(self): "Shut."
'''


def test_docstrings_are_read_without_importing(tmp_path: Path) -> None:
    (tmp_path / "shed" / "test").mkdir(parents=True)
    (tmp_path / "shed" / "__init__.py").write_text(MODULE)
    (tmp_path / "shed" / "test" / "skipped.py").write_text(MODULE)
    (tmp_path / "broken.py").write_text("def (")
    (tmp_path / "pydoc_data").mkdir()
    topics = 'topics = {"boxes": "Boxes\\n*****\\n\\nA box is a thing."}\n'
    (tmp_path / "pydoc_data" / "topics.py").write_text(topics)
    modules = stdlib.parse(tmp_path)
    found = {document.group: document.text for document in stdlib.documents(modules)}
    assert found == {
        "topic boxes": "Boxes\n*****\n\nA box is a thing.",
        "shed": "shed\nWhat this module is for, told in one line.\n\nAnd more about it.\n\n"
        "shed.Box\nA box that holds quite a number of things.\n\n"
        "shed.Box.open(self, how='gently', *, wide: bool=True)\n"
        "Open the box and look at what is inside of it.",
    }
    assert list(stdlib.summaries(modules)) == [
        "What this module is for, told in one line.",
        "A box that holds quite a number of things.",
        "Open the box and look at what is inside of it.",
        "Shut.",
    ]


def test_a_source_is_read_by_its_name() -> None:
    data = json.dumps([hsk_row(1, "cats")]).encode()
    [document] = corpus.documents("hsk", [Member("sentences.json", data)])
    assert document.text == "我有1只猫。\nI have 1 cats."
    assert list(corpus.documents("thuocl", [Member("THUOCL.json", b"{}")])) == []
    parsed = corpus.parse({"hsk": data}, with_stdlib=False)
    assert [pair.zh for pair in parsed.pairs] == ["我有1只猫。"]
    assert parsed.modules == []
