import unicodedata

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jielong.data.dedup import clause_digests, clusters, comparison_form, digest, long_paragraphs


def test_the_comparison_form_ignores_case_width_and_punctuation() -> None:
    assert comparison_form("\uff28ello， WORLD！（2）") == comparison_form("hello world 2")
    assert digest("\uff28ello， WORLD！（2）") == digest("hello world 2")
    assert comparison_form("大人") != comparison_form("人大")
    assert comparison_form("snake_case") == "snakecase"


@given(st.text())
def test_the_comparison_form_keeps_letters_and_digits_alone(text: str) -> None:
    folded = unicodedata.normalize("NFKC", text).casefold()
    assert comparison_form(text) == "".join(filter(str.isalnum, folded))


def test_a_paragraph_is_long_from_forty_units_on() -> None:
    text = "\n\n".join(("短", "字" * 39, "字" * 40, "a " * 40))
    assert [place for place, _ in long_paragraphs(text)] == [2, 3]


def tied(texts: dict[str, str]) -> dict[str, str]:
    found = {name: clause_digests(text) for name, text in texts.items()}
    clauses = [clause for digests in found.values() for clause in digests]
    owners = [number for number, digests in enumerate(found.values()) for _ in digests]
    names = clusters(
        list(texts), np.array(clauses, dtype=np.uint64), np.array(owners, dtype=np.int64)
    )
    return dict(zip(texts, names, strict=True))


def test_sister_texts_share_a_cluster() -> None:
    common = [f"第{word}条规定的事项由当地的管理部门负责办理" for word in "甲乙丙丁戊己"]
    found = tied(
        {
            "西区法": "。".join([*common, "西区则有另一条自己的很长的规定"]),
            "东区法": "。".join([*common, "东区另有一条自己的很长的规定"]),
            "海洋法": "船只离港之前应当向港口的管理者报告去向。返回以后应当报告一次航行情况",
        }
    )
    assert found == {"东区法": "东区法", "西区法": "东区法", "海洋法": "海洋法"}


def test_boilerplate_ties_nobody() -> None:
    closing = "。".join(f"本法自公布之日起满{n}个月以后开始施行" for n in "一二三四五")
    texts = {f"法{i}": f"{closing}。这是只有第{i}部法律才会有的那一句很长的话" for i in range(9)}
    assert len(set(tied(texts).values())) == len(texts)


def test_groups_without_a_clause_are_alone() -> None:
    assert tied({"甲": "短", "乙": "短"}) == {"甲": "甲", "乙": "乙"}
