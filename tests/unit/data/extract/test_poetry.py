"""Verse in all the ways in which the files nest it, in lines that we wrote ourselves."""

import json
from typing import Any

import pytest

from jielong.data.archives import Member
from jielong.data.extract.poetry import Piece, documents, parse


def pieces(value: Any) -> list[Piece]:
    return parse(json.dumps(value).encode())


def lines(*paragraphs: str) -> list[tuple[str, ...]]:
    return [piece.lines for piece in pieces([{"title": "題", "paragraphs": list(paragraphs)}])]


def test_poems_keep_their_script() -> None:
    found = pieces(
        [{"author": "某甲", "title": "貓", "paragraphs": ["貓來了，", "狗去了。"], "id": "1"}]
    )
    assert found == [Piece("貓", "某甲", ("貓來了，", "狗去了。"))]
    assert pieces([{"author": "某乙", "rhythmic": "调", "paragraphs": ["猫来了。"]}]) == [
        Piece("调", "某乙", ("猫来了。",))
    ]


def test_a_book_gives_its_title_to_its_chapters() -> None:
    book = {
        "title": "貓書",
        "author": "某甲（一說某乙）",
        "abstract": "關於貓的書。",
        "content": [
            {"title": "卷一", "content": [{"chapter": "睡", "paragraphs": ["貓睡了。"]}]},
            {"chapter": "醒", "author": "先秦：某丙", "paragraphs": ["貓醒了。"]},
        ],
    }
    assert pieces(book) == [
        Piece("貓書·睡", "某甲", ("貓睡了。",)),
        Piece("貓書·醒", "某丙", ("貓醒了。",)),
    ]
    song = {"title": "貓歌", "chapter": "國風", "section": "東", "content": ["貓鳴。"]}
    assert pieces([song]) == [Piece("國風·東·貓歌", "", ("貓鳴。",))]


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (["貓來了（一作「去」）。"], ("貓來了。",)),
        (["（某書卷一云：（又見某書）", "還有。）貓來了。"], ("貓來了。",)),
        (["(旦唱)貓來了。", "(下)。"], ("貓來了。",)),
        (["\uff3b合\uff3d貓來了。"], ("貓來了。",)),
        (["\u3014宮調\u3015貓唱\u3014滿庭芳\u3015。"], ("貓唱\u3014滿庭芳\u3015。",)),
        (["[貓]來了[一]。"], ("貓來了。",)),
        (["貓來了,", "狗?"], ("貓來了，", "狗？")),
        (["𪚥貓〇。", "", "。"], ("𪚥貓〇。",)),
    ],
)
def test_notes_of_editors_are_cut(written: list[str], kept: tuple[str, ...]) -> None:
    assert lines(*written) == [kept]


@pytest.mark.parametrize(
    "damaged",
    ["貓□了。", "{犭苗}來了。", "貓�來。", "貓\ue000來。", "貓來了（未完。", "貓ネコ。", "貓=狗。"],
)
def test_damaged_pieces_are_left_out(damaged: str) -> None:
    assert lines("狗來了。", damaged) == []


def test_pieces_of_nothing_are_left_out() -> None:
    assert lines() == []
    assert lines("。", "（無）") == []
    assert pieces([{"title": "貓□", "paragraphs": ["貓來了。"]}]) == []
    [numbered] = pieces([{"title": "其一○", "paragraphs": ["貓來了。"]}])
    assert numbered.title == "其一〇"


def test_documents_are_in_simplified_script() -> None:
    pytest.importorskip("opencc")
    poems = [
        {"author": "某甲", "title": f"貓{n}", "paragraphs": ["貓來了。" * 10]} for n in range(9)
    ]
    member = Member("package/dist/poet.9.json", json.dumps(poems).encode())
    found = list(documents("poetry-tang", [member]))
    assert [d.key for d in found] == ["poet.9/0", "poet.9/1"]
    assert {(d.source, d.lang) for d in found} == {("poetry-tang", "zh")}
    assert found[0].text.startswith("《猫0》 某甲\n猫来了。猫来了。")
    assert sum(d.text.count("《") for d in found) == 9


def test_a_long_chapter_is_cut_between_its_lines() -> None:
    pytest.importorskip("opencc")
    chapter = {"chapter": "長", "paragraphs": ["字" * 200 + "。"] * 9}
    found = list(documents("poetry-classics", [Member("a.json", json.dumps(chapter).encode())]))
    assert [d.text.count("字") for d in found] == [600, 600, 600]
    assert [d.text.startswith("《长》\n字") for d in found] == [True, False, False]
