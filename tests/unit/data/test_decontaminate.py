import json
import pickle
from pathlib import Path
from random import Random

import numpy as np
import pytest

from jielong.core.config import parse
from jielong.core.errors import ConfigError, DataError
from jielong.data.decontaminate import (
    DecontaminationConfig,
    Decontaminator,
    GramIndex,
    build_index,
    load_items,
)
from jielong.data.documents import Document, Dropped
from jielong.data.pipeline.late import DecontaminationStep, Exams, gram_index
from tests.planted import random_text

CONFIG = DecontaminationConfig()
QUESTION = "一只青蛙每天白天爬三米夜里滑下两米井深十米它几天爬出来"
RIDDLE = "Seven lamps stood on a wall, two went out; how many lamps are on the wall?"

WIDE = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}


def document(text: str, lang: str = "zh") -> Document:
    return Document(source="s", key=text, text=text, lang=lang, group="g")


def cleaner(items: list[str], texts: list[str] | None = None, **settings: int) -> Decontaminator:
    index = build_index({"set": items}, DecontaminationConfig(**settings))
    return Decontaminator(index, index.count(texts or []))


def prose(seed: int, lang: str, characters: int) -> str:
    return random_text(Random(seed), lang, characters)


def test_a_hit_goes_with_its_window() -> None:
    before, after = "前" * 100, "后" * 100
    text = f"{before}{QUESTION}{after}"
    cleaned = cleaner([QUESTION])(document(text))
    assert isinstance(cleaned, Dropped)  # 30 characters on each side are no piece of their own
    text = f"{before}{before}。{QUESTION}！{after}{after}"
    cleaned = cleaner([QUESTION])(document(text))
    assert isinstance(cleaned, Document)
    assert cleaned.text == f"{'前' * 131}\n\n{'后' * 131}"
    assert cleaned.key == text


def test_a_short_hit_inside_a_long_one_brings_nothing_back() -> None:
    text = f"{'前' * 300}{QUESTION}{'后' * 300}"
    cleaned = cleaner([QUESTION, QUESTION[16:25]])(document(text))
    assert isinstance(cleaned, Document)
    assert cleaned.text == f"{'前' * 230}\n\n{'后' * 230}"


def test_english_has_the_wider_window() -> None:
    left, right = "left " * 100, " right" * 100
    cleaned = cleaner([RIDDLE])(document(f"{left}{RIDDLE}{right}", "en"))
    assert isinstance(cleaned, Document)
    assert cleaned.text == f"{left[:300].strip()}\n\n{right[199:].strip()}"  # "?" is no unit


def test_thirteen_units_in_a_row_are_a_hit_and_twelve_are_none() -> None:
    clean = prose(0, "zh", 400)
    block = cleaner([QUESTION])
    assert len(block.leaks(clean + QUESTION[3:16])) == 1
    assert block.leaks(clean + QUESTION[3:15]) == []


@pytest.mark.parametrize(
    "altered",
    [
        "seven lamps stood on a wall two went out how many lamps are on the wall",
        "SEVEN LAMPS STOOD ON A WALL -- TWO WENT OUT! HOW MANY LAMPS ARE ON THE WALL",
        RIDDLE.translate(WIDE),
    ],
)
def test_dress_does_not_matter(altered: str) -> None:
    text = f"{prose(0, 'en', 500)} {altered} {prose(1, 'en', 500)}"
    cleaned = cleaner([RIDDLE])(document(text, "en"))
    assert isinstance(cleaned, Document)
    assert not {"lamps", "LAMPS", "lamps".translate(WIDE)} & set(cleaned.text.split())
    assert len(cleaned.text) > 550


def test_a_short_item_must_occur_whole() -> None:
    clean = prose(0, "zh", 400)
    block = cleaner(["井里的青蛙看天有多大"])  # ten units
    assert len(block.leaks(clean + "井里的青蛙，看天有多大？")) == 1
    assert block.leaks(clean + "井里的青蛙看天有多") == []
    assert block.leaks(clean + "里的青蛙看天有多大") == []


def test_a_very_short_item_is_not_looked_for() -> None:
    block = cleaner(["青蛙看天有多大"])  # seven units
    assert block.leaks("井里的青蛙看天有多大") == []
    assert cleaner([]).leaks(QUESTION) == []


def test_a_clean_document_is_the_same_object() -> None:
    clean = document("短。")
    assert cleaner([QUESTION])(clean) is clean


def test_a_document_in_too_many_pieces_goes() -> None:
    def cut(times: int) -> Document | Dropped:
        text = QUESTION.join(prose(n, "zh", 300) for n in range(times + 1))
        return cleaner([QUESTION])(document(text))

    assert isinstance(cut(9), Document)
    dropped = cut(10)
    assert isinstance(dropped, Dropped)
    assert (dropped.rule, dropped.detail) == ("decontaminate.pieces", "11 pieces > 10")


def test_common_grams_stay() -> None:
    item = QUESTION + prose(1000, "zh", 40)
    texts = [prose(n, "zh", 300) + QUESTION + prose(99 - n, "zh", 300) for n in range(11)]
    assert len(cleaner([item], texts[:10]).leaks(texts[0])) > 0
    assert cleaner([item], texts).leaks(texts[0]) == []


def test_a_whole_item_goes_however_often_it_was_said() -> None:
    texts = [prose(n, "zh", 300) + QUESTION + prose(99 - n, "zh", 300) for n in range(11)]
    block = cleaner([QUESTION, RIDDLE], texts)
    [(start, end)] = block.leaks(texts[0])
    assert texts[0][start:end] == QUESTION
    cleaned = block(document(texts[0]))
    assert isinstance(cleaned, Document)
    assert QUESTION[:10] not in cleaned.text
    assert block.index.leaked(block.counts) == {"set": 1}


def test_an_exam_of_which_nothing_can_be_looked_for_is_refused(tmp_path: Path) -> None:
    (tmp_path / "exam.jsonl").write_text('{"question": "八天", "answer": "seven"}')
    files = (str(tmp_path / "exam.jsonl"),)
    exams = Exams(DecontaminationStep(files=files), files)
    with pytest.raises(DataError, match=r"none of 2 text\(s\) has shortest_item = 8 units"):
        gram_index(exams)


def test_an_item_is_looked_for_in_all_its_forms() -> None:
    index = build_index(
        {"set": [QUESTION]}, CONFIG, lambda text: [text, text.replace("井", "[电话]")]
    )
    assert index.leaked(index.count([QUESTION.replace("井", "[电话]")])) == {"set": 1}
    assert index.given == {"set": 1}


def test_a_document_counts_once_however_often_it_says_it() -> None:
    index = build_index({"set": [QUESTION]}, CONFIG)
    assert index.count([QUESTION * 20]).max() == 1


def test_counts_of_parts_add_up() -> None:
    index = build_index({"set": [QUESTION, RIDDLE]}, CONFIG)
    texts = [QUESTION, RIDDLE + QUESTION, "无关", QUESTION]
    whole = index.count(texts)
    assert np.array_equal(whole, index.count(texts[:1]) + index.count(texts[1:]))
    assert sorted(set(whole.tolist())) == [1, 3]


def test_leaked_items_are_counted_per_set() -> None:
    index = build_index(
        {"zh": [QUESTION, "这一道题目从来没有在任何文章里出现过"], "en": [RIDDLE]}, CONFIG
    )
    assert index.leaked(index.count([f"甲{QUESTION}乙"])) == {"zh": 1, "en": 0}


def test_the_block_travels_to_a_worker() -> None:
    block = cleaner([QUESTION])
    text = prose(0, "zh", 300) + QUESTION
    there = pickle.loads(pickle.dumps(block))  # noqa: S301 - our own bytes
    assert there(document(text)) == block(document(text))


def planted(lang: str) -> tuple[list[str], list[str]]:
    """300 items, and as many documents, each with one of them in its middle."""
    items = [prose(10_000 + n, lang, 90) for n in range(300)]
    sides = [(prose(2 * n, lang, 700), prose(2 * n + 1, lang, 700)) for n in range(300)]
    return items, [f"{a}\n{item}\n{b}" for item, (a, b) in zip(items, sides, strict=True)]


def remains(block: Decontaminator, texts: list[str], lang: str) -> tuple[int, int]:
    """How many documents still hold a gram of an item, and how many characters are left."""
    still = left = 0
    for text in texts:
        cleaned = block(document(text, lang))
        rest = cleaned.text if isinstance(cleaned, Document) else ""
        still += any(index_hits(block.index, rest))
        left += len(rest)
    return still, left


def index_hits(index: GramIndex, text: str) -> list[int]:
    return [int(number) for _, _, numbers in index.find(text) for number in numbers]


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_planted_items_are_all_removed_and_nothing_else(lang: str) -> None:
    items, texts = planted(lang)
    clean = [prose(50_000 + n, lang, 1500) for n in range(300)]
    index = build_index({"set": items}, CONFIG)
    block = Decontaminator(index, index.count(texts + clean))
    still, left = remains(block, texts, lang)
    assert still == 0
    window = 70 if lang == "zh" else 200
    assert left >= 300 * 2 * (700 - window - 2)  # what surrounded them is there
    assert index.leaked(block.counts) == {"set": 300}
    _, left = remains(block, clean, lang)
    assert left >= 0.999 * sum(map(len, clean))


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_items_in_another_dress_are_removed(lang: str) -> None:
    items, texts = planted(lang)
    swapped = str.maketrans({"，": "；", "。": "！", ".": " –"})
    altered = [
        text.translate(swapped)
        if n % 3 == 0
        else text.upper()
        if n % 3 == 1
        else text.translate(WIDE)
        for n, text in enumerate(texts)
    ]
    still, _ = remains(cleaner(items, altered), altered, lang)
    assert still <= 3


def test_items_are_every_string_of_a_row(tmp_path: Path) -> None:
    rows = [
        {"input": [{"role": "user", "content": QUESTION}], "ideal": "八天", "n": 3},
        RIDDLE,
    ]
    path = tmp_path / "riddles.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert load_items([path]) == {"riddles": ["user", QUESTION, "八天", RIDDLE]}


def test_items_are_the_named_fields(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"question": QUESTION, "passage": "诗", "answer": ["八天"]}))
    assert load_items([path], ["question", "answer"]) == {"a": [QUESTION, "八天"]}


@pytest.mark.parametrize(
    ("content", "fields", "message"),
    [
        ("", [], r"a\.jsonl: no text: nothing to look for"),
        ('{"q": "x"}', ["query"], r"a\.jsonl: no text in query \(there are: q\)"),
        ('"x"', ["query"], r"a\.jsonl:1: not an object"),
        ("{", [], r"a\.jsonl:1: not JSON"),
    ],
)
def test_items_that_cannot_be_used(
    tmp_path: Path, content: str, fields: list[str], message: str
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        load_items([path], fields)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ngram": 0}, "^ngram: 0"),
        ({"ngram": 5}, "^shortest_item: 8"),
        ({"window": -1}, "^window:"),
    ],
)
def test_a_setting_out_of_range_is_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(DecontaminationConfig, settings)


def test_items_are_also_looked_for_as_masking_leaves_them(tmp_path: Path) -> None:
    """Thirteen units: every gram of the item holds the number that the corpus no longer has."""
    (tmp_path / "exam.jsonl").write_text('{"question": "周六晚上七点请打13912345678找林老师"}')
    files = (str(tmp_path / "exam.jsonl"),)
    step = DecontaminationStep(files=files)
    masked = "他说周六晚上七点请打[电话]找林老师，一定要早到。"
    assert not gram_index(Exams(step, files)).count([masked]).any()
    assert gram_index(Exams(step, files, masked=("phone",))).count([masked]).any()
