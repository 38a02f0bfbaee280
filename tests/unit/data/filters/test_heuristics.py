import pickle
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jielong.core.config import parse
from jielong.core.errors import ConfigError
from jielong.data.clean import units
from jielong.data.documents import Document, Dropped
from jielong.data.filters.heuristics import HeuristicsConfig, block, faults

CONFIG = HeuristicsConfig()
CHINESE = (
    "老街的尽头有一间修表的铺子，门口挂着一块褪了色的木牌。\n"
    "店主姓梁，已经七十多岁了，每天清晨都会把柜台擦得干干净净。\n"
    "他说钟表和人一样，走得太急容易出错，走得太慢又会误事。"
)
CLASSICAL = (
    "山中有老翁，日出而耕，日入而歸。客至，主人具酒食以待之，談至夜分而不倦，是以鄉人皆敬之。"
)
ENGLISH = (
    "The old clockmaker opened his shop before sunrise and swept the step with care.\n"
    "He liked to say that watches, not unlike people, go wrong when they are made to hurry.\n"
    "On quiet mornings a cat from the bakery slept in the window among the brass gears."
)
MIXED = "\n".join(
    [
        "“钟表”读作 zhōng biǎo，英语是 clocks and watches。",
        "The Chinese word 清晨 (qīng chén) means early morning.",
        "柜台（guì tái）的意思是：the counter of a shop。",
    ]
)


def first(text: str, lang: str, config: HeuristicsConfig = CONFIG) -> tuple[str, str] | None:
    return next(faults(text, lang, config), None)


@pytest.mark.parametrize(
    ("text", "lang"),
    [(CHINESE, "zh"), (CLASSICAL, "zh"), (ENGLISH, "en"), (MIXED, "mixed")],
)
def test_prose_breaks_no_rule(text: str, lang: str) -> None:
    assert list(faults(text, lang, CONFIG)) == []


def test_an_editors_line_breaks_are_no_paragraph_ends() -> None:
    words = (ENGLISH.replace("\n", " ") + " ").split(" ")
    narrow = "\n".join(" ".join(words[at : at + 6]) for at in range(0, len(words), 6))
    assert sum(line.endswith(".") for line in narrow.split("\n")) < 0.3 * narrow.count("\n")
    assert list(faults(narrow, "en", CONFIG)) == []


def test_code_and_headings_of_markdown_are_not_held_against_it() -> None:
    code = "```python\n" + "x = {1: [2, 3]}\n" * 40 + "```"
    text = f"# Clocks\n\n{ENGLISH}\n\n{code}\n\n## Watches\n\n{ENGLISH.replace('clock', 'watch')}"
    assert list(faults(text, "en", replace(CONFIG, max_repeated_ngrams=(1.0,)))) == []
    assert list(faults(code, "en", CONFIG)) == []  # code alone is long enough, and not judged


HEADS = "首页 新闻 体育 财经 娱乐 汽车 房产 教育 旅游 健康 科技 军事 文化 历史 图片 视频".split()


@pytest.mark.parametrize(
    ("text", "lang", "expected"),
    [
        ("老街的尽头有一间修表的铺子。", "zh", ("too_short", "13 < 30")),
        ("", "zh", ("too_short", "0 < 30")),
        (CHINESE + "\ue000", "zh", ("private_use", "1 > 0")),
        # 10 words of 4 letters, 30 numbers of 2 digits: 40 letters of 100 characters.
        ("with " * 10 + "42 " * 30, "en", ("letters", "0.400 < 0.6")),
        # 10 characters and 30 words
        ("有" * 10 + " and the" * 15, "zh", ("han", "0.250 < 0.5")),
        ("a b " * 15 + "be.", "en", ("word_letters", "1.032 < 3")),  # 32 letters in 31 words
        ("incomprehensible " * 30, "en", ("word_letters", "16.000 > 10")),
        (ENGLISH.replace(" ", " ★ "), "en", ("symbols", "0.936 > 0.1")),  # 44 in 47 words
        (CHINESE + "（（【", "zh", ("brackets", "0.040 > 0.02")),  # 3 with 75 characters
        ("\n".join(f"- {head}" for head in HEADS), "zh", ("bullets", "1.000 > 0.9")),
        ("\n".join(HEADS), "zh", ("sentence_ends", "0.000 < 0.3")),
        (CHINESE.replace("。", "……"), "zh", ("ellipses", "1.000 > 0.3")),
        # 7 lines, 4 of them said before
        (f"{CHINESE}\n{CHINESE}\n{CHINESE[:27]}", "zh", ("repeated_lines", "0.571 > 0.45")),
        ("Many shiny cogs, some broken, lay everywhere. " * 6, "en", ("function_words", "0 < 2")),
        (
            "of the clock, of the watch, of the cat, of the shop, of the gears, of the step, "
            "of the window, of the bakery, of the old counter, of the town.",
            "en",
            ("top_2_gram", "0.645 > 0.2"),  # ten times two of 31 words
        ),
    ],
)
def test_each_rule_names_its_value(text: str, lang: str, expected: tuple[str, str]) -> None:
    assert first(text, lang) == expected


def test_repeated_paragraphs_are_counted_apart_from_lines() -> None:
    text = "\n\n".join([f"{CHINESE[:27]}\n{CHINESE[28:57]}"] * 2)
    config = replace(CONFIG, max_repeated_lines=1.0)
    assert first(text, "zh", config) == ("repeated_paragraphs", "0.500 > 0.45")


def test_numbered_points_are_no_lost_brackets() -> None:
    points = "1) 把柜台擦干净。2) 打开门口的灯。3) 把木牌挂在外面，然后等第一位客人来。"
    assert first(points, "zh") is None
    assert first(points.replace("1)", "、)"), "zh") == (
        "brackets",
        "0.033 > 0.02",
    )  # one with 30 units


def test_a_text_may_break_many_rules() -> None:
    rules = {rule for rule, _ in faults("登录 " * 40, "zh", CONFIG)}
    expected = {"sentence_ends", "function_words", "top_2_gram", "top_3_gram", "top_4_gram"}
    assert rules == expected | {f"repeated_{n}_grams" for n in range(5, 11)}


def brute_top(found: list[str], n: int) -> float:
    most = max(Counter(tuple(found[at : at + n]) for at in range(len(found) - n + 1)).values())
    return n * most / len(found) if most > 1 else 0.0


def brute_repeated(found: list[str], n: int) -> float:
    covered: set[int] = set()
    for at in range(len(found) - n + 1):
        if any(found[at : at + n] == found[before : before + n] for before in range(at)):
            covered.update(range(at, at + n))
    return len(covered) / len(found)


@settings(max_examples=40)
@given(
    st.lists(st.sampled_from(["天", "地人", "天地人和天地", " a", " b "]), min_size=9, max_size=20)
)
def test_ngrams_agree_with_brute_force(pieces: list[str]) -> None:
    text = "".join(pieces)
    found = units(text)
    config = replace(
        CONFIG,
        min_units=12,
        max_top_ngrams=(-1.0, -1.0, -1.0),  # all values lie above, and so are told
        max_repeated_ngrams=(-1.0,) * 6,
    )
    if len(found) < 12:
        return
    told = {rule: detail.split()[0] for rule, detail in faults(text, "zh", config)}
    for n in (2, 3, 4):
        assert told[f"top_{n}_gram"] == f"{brute_top(found, n):.3f}"
    for n in range(5, 11):
        assert told[f"repeated_{n}_grams"] == f"{brute_repeated(found, n):.3f}"


def test_the_step_keeps_or_names_the_rule() -> None:
    step = pickle.loads(pickle.dumps(block(CONFIG)))  # noqa: S301 - our own bytes
    good = Document(source="files", key="1", text=CHINESE, lang="zh", group="1")
    bad = replace(good, text="\n".join(HEADS))
    assert step(good) is good
    expected = Dropped(document=bad, rule="heuristics.sentence_ends", detail="0.000 < 0.3")
    assert step(bad) == expected


def test_limits_that_rise_with_n_are_refused() -> None:
    with pytest.raises(ConfigError, match="max_repeated_ngrams"):
        parse(HeuristicsConfig, {"max_repeated_ngrams": [0.1, 0.2]})
