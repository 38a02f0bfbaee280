import gzip
import json
from pathlib import Path

import pytest

from jielong.core.errors import DataError
from jielong.data.extract import cedict, hsk, stdlib
from jielong.data.extract.corpus import Corpus
from jielong.data.lexicon import Lexicon
from jielong.data.lexicon_build import build, segment

ENTRIES = """\
貓上屋頂 猫上屋顶 [mao1 shang4 wu1 ding3] /to watch from above (idiom)/
古怪成語 古怪成语 [gu3 guai4 cheng2 yu3] /a strange saying (idiom)/
公園 公园 [gong1 yuan2] /park (for walks)/garden/
北京 北京 [Bei3 jing1] /Beijing/
小貓 小猫 [xiao3 mao1] /kitten/
看見 看见 [kan4 jian4] /to see/
"""


def corpus() -> Corpus:
    zh = [
        "小猫在公园里睡觉。",
        "他看见小猫跑了。",
        "小猫没有去公园玩。",
        "公园！",
        "我去公园，看书。",
    ]
    en = [
        "The kitten sleeps in the park.",
        "He saw the kitten run away.",
        "No.",
        "I see, in a park!",
    ]
    pairs = [
        hsk.Pair(f"{i}", 1, "t", a, b, ("公园",) if "公园" in a else ("小猫",))
        for i, (a, b) in enumerate(zip(zh, [*en, "It's the kitten's park."], strict=True))
    ]
    story = ["第一回 标题", "老王笑曰：“小猫在此。它会跳舞。”于是出门而去。众人听了都大笑不止。"]
    return Corpus(
        entries=cedict.parse(gzip.compress(ENTRIES.encode())),
        chapters=[story],
        pairs=pairs,
        fields={
            "成语": ["画蛇添足", "猫上屋顶", "同轴电缆", "平地一声雷"],
            "计算机": ["同轴电缆"],
            "地名": ["北京", "公园", "东村"],
        },
        modules=[
            stdlib.Module("m", (("m", "Return the kitten of `self`."), ("f", "Find a park.")))
        ],
    )


def test_idioms_have_four_characters_a_rank_and_a_meaning() -> None:
    assert build(corpus()).idioms == {
        "画蛇添足": {"count": 2, "pinyin": None, "gloss": None},
        "猫上屋顶": {"count": 1, "pinyin": "māo shàng wū dǐng", "gloss": "to watch from above"},
        "古怪成语": {"count": 0, "pinyin": "gǔ guài chéng yǔ", "gloss": "a strange saying"},
    }


def test_an_ordinary_word_is_no_place() -> None:
    assert build(corpus()).categories == {
        "画蛇添足": ["成语"],
        "猫上屋顶": ["成语"],
        "同轴电缆": ["成语", "计算机"],
        "平地一声雷": ["成语"],
        "北京": ["地名"],
        "东村": ["地名"],
    }


def test_sentences_are_whole_short_and_told_by_nobody() -> None:
    found = [(s["lang"], s["source"], s["text"]) for s in build(corpus()).sentences]
    assert found == [
        ("zh", "hsk", "小猫在公园里睡觉。"),
        ("zh", "hsk", "他看见小猫跑了。"),
        ("zh", "hsk", "小猫没有去公园玩。"),
        ("zh", "hsk", "我去公园，看书。"),
        ("en", "hsk", "The kitten sleeps in the park."),
        ("en", "hsk", "He saw the kitten run away."),
        ("en", "hsk", "I see, in a park!"),
        ("en", "hsk", "It's the kitten's park."),
        ("zh", "sanguo", "于是出门而去。"),
        ("zh", "sanguo", "众人听了都大笑不止。"),
    ]


def test_common_words_occur_in_three_sentences() -> None:
    found = build(corpus())
    assert found.words_zh == ["公园"]  # 小猫 is in three sentences, but a token of one
    assert found.words_en == ["park"]  # the kitten of "kitten's" is another word
    assert found.translations == {"公园": ["park", "garden"], "小猫": ["kitten"]}


def test_segmentation_trusts_only_what_both_ways_find() -> None:
    # 研究|生命 from the right, 研究生|命 from the left.
    assert segment("研究生命", {"研究", "研究生", "生命"}) == []
    assert segment("他研究生物", {"研究", "生物"}) == ["他", "研究", "生物"]


def test_a_lexicon_is_read_back(tmp_path: Path) -> None:
    built = build(corpus())
    built.save(tmp_path / "lexicon.json")
    assert Lexicon.load(tmp_path / "lexicon.json") == built
    assert json.loads((tmp_path / "lexicon.json").read_text())["words_zh"] == ["公园"]


@pytest.mark.parametrize("content", [b"{", b"[1]", b'{"verbs": []}', b"\xff"])
def test_a_file_that_is_no_lexicon_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "lexicon.json"
    with pytest.raises(DataError, match="no such lexicon"):
        Lexicon.load(path)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"lexicon\.json: not a lexicon"):
        Lexicon.load(path)
