import random

from jielong.data.dedup import clusters, comparison_form, exact
from jielong.data.documents import Document

LONG = (
    "这是我们自己写的一段话，它要比四十个字长，这样才算得上一个段落，"
    "而不是一个谁都可能写出来的标题或者短句子。"
)


def document(text: str, source: str = "a", key: str = "", group: str = "g") -> Document:
    return Document(source=source, key=key or text, text=text, lang="zh", group=group)


def test_the_comparison_form_ignores_case_width_and_punctuation() -> None:
    assert comparison_form("\uff28ello， WORLD！（2）") == comparison_form("hello world 2")
    assert comparison_form("大人") != comparison_form("人大")


def test_the_survivor_comes_from_the_first_source() -> None:
    found = exact([document("一。", "b"), document("一！", "a"), document("二", "b")], ["a", "b"])
    assert [(d.source, d.text) for d in found] == [("a", "一！"), ("b", "二")]


def test_a_long_paragraph_is_kept_once() -> None:
    own = "另外一段只有这里才有的话，也要超过四十个字才行，所以再多写几个字，" * 2
    texts = [LONG, f"题目\n\n{LONG}\n\n{own}", f"短\n\n{LONG}"]
    found = exact([document(text, key=str(i)) for i, text in enumerate(texts)], ["a"])
    assert sum(LONG in d.text for d in found) == 1
    assert sum(own in d.text for d in found) == 1
    assert not any(d.text == "短" for d in found)


def test_short_paragraphs_may_repeat() -> None:
    found = exact([document("题目\n\n甲", key="1"), document("题目\n\n乙", key="2")], ["a"])
    assert {d.text for d in found} == {"题目\n\n甲", "题目\n\n乙"}


def test_planted_duplicates_are_all_found_in_any_order() -> None:
    originals = [document(f"第{i}篇：{LONG}{i}", "a", str(i)) for i in range(100)]
    copies = [document(d.text.replace("，", ", ").upper(), "b", d.key) for d in originals]
    everything = originals + copies
    random.Random(0).shuffle(everything)
    found = exact(everything, ["a", "b"])
    assert sorted(found, key=lambda d: d.id) == sorted(originals, key=lambda d: d.id)


def test_sister_texts_share_a_cluster() -> None:
    common = [f"第{word}条规定的事项由当地的管理部门负责办理" for word in "甲乙丙丁戊己"]
    texts = {
        "东区法": "。".join([*common, "东区另有一条自己的很长的规定"]),
        "西区法": "。".join([*common, "西区则有另一条自己的很长的规定"]),
        "海洋法": "船只离港之前应当向港口的管理者报告去向。返回以后应当报告一次航行情况",
    }
    found = clusters(document(text, group=name) for name, text in texts.items())
    assert found["东区法"] == found["西区法"]
    assert found["海洋法"] == "海洋法"


def test_boilerplate_ties_nobody() -> None:
    closing = "。".join(f"本法自公布之日起满{n}个月以后开始施行" for n in "一二三四五")
    texts = {f"法{i}": f"{closing}。这是只有第{i}部法律才会有的那一句很长的话" for i in range(9)}
    found = clusters(document(text, group=name) for name, text in texts.items())
    assert len(set(found.values())) == len(texts)
