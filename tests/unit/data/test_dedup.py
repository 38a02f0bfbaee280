import tracemalloc
import unicodedata
from collections import Counter
from collections.abc import Iterator
from itertools import combinations, pairwise
from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jielong.data.dedup import clause_digests, clusters, comparison_form, digest, long_paragraphs
from tests.planted import edited


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


Batches = Iterator[tuple[np.ndarray, np.ndarray]]


def batches(clauses: list[list[int]], count: int) -> Batches:
    """The clauses of each group, those of one clause in one of `count` batches."""
    entries = [(clause, group) for group, held in enumerate(clauses) for clause in held]
    for number in range(count):
        mine = [entry for entry in entries if entry[0] % count == number]
        digests, owners = zip(*mine, strict=True) if mine else ((), ())
        yield np.array(digests, dtype=np.uint64), np.array(owners, dtype=np.int64)


def tied(texts: dict[str, str]) -> dict[str, str]:
    """For each text the first one of its cluster."""
    names = list(texts)
    roots = clusters(len(names), batches([clause_digests(texts[name]) for name in names], 3))
    return {name: names[root] for name, root in zip(names, roots, strict=True)}


def test_sister_texts_share_a_cluster() -> None:
    common = [f"第{word}条规定的事项由当地的管理部门负责办理" for word in "甲乙丙丁戊己"]
    found = tied(
        {
            "西区法": "。".join([*common, "西区则有另一条自己的很长的规定"]),
            "东区法": "。".join([*common, "东区另有一条自己的很长的规定"]),
            "海洋法": "船只离港之前应当向港口的管理者报告去向。返回以后应当报告一次航行情况",
        }
    )
    assert found == {"西区法": "西区法", "东区法": "西区法", "海洋法": "海洋法"}


def test_boilerplate_ties_nobody() -> None:
    closing = "。".join(f"本法自公布之日起满{n}个月以后开始施行" for n in "一二三四五")
    own = [
        "。".join(f"这是只有第{i}部法律才会有的那{n}句很长的话" for n in range(6)) for i in range(9)
    ]
    texts = {f"法{i}": f"{closing}。{own[i]}" for i in range(9)}
    assert len(set(tied(texts).values())) == len(texts)


def sentences(random: Random, count: int) -> list[str]:
    """So many clauses of 14 Han characters that nobody else says."""
    return ["".join(chr(random.randrange(0x4E00, 0x9F00)) for _ in range(14)) for _ in range(count)]


def test_copies_are_tied_however_many_there_are() -> None:
    random = Random(0)
    letters = ["。".join(sentences(random, 40)) for _ in range(12)]
    copies = {
        f"{copy} of {number}": edited(random, letter, 20 / len(letter))
        for copy in range(8)
        for number, letter in enumerate(letters)
    }
    found = tied(copies)
    assert {name: root.split()[-1] for name, root in found.items()} == {
        name: name.split()[-1] for name in copies
    }
    assert len(set(found.values())) == len(letters)


def test_a_copy_of_two_clauses_ties_nobody() -> None:
    """What two clauses say is said by chance: a short note must not tie all that hold them."""
    clauses = [[1, 2, *range(group * 10, group * 10 + 8)] for group in range(1, 9)]
    assert clusters(9, batches([*clauses, [1, 2]], 2)).tolist() == list(range(9))


def plain_clusters(clauses: list[list[int]]) -> list[int]:
    """Few holders: all pairs; many: neighbours. A pair that shares enough is tied."""
    holders: dict[int, list[int]] = {}
    for group, held in enumerate(clauses):
        for clause in set(held):
            holders.setdefault(clause, []).append(group)
    rare, either = Counter[tuple[int, int]](), Counter[tuple[int, int]]()
    for groups in holders.values():
        if len(groups) <= 6:
            rare.update(combinations(groups, 2))
            either.update(combinations(groups, 2))
        else:
            either.update(pairwise(groups))
    root = list(range(len(clauses)))
    for shared, share in ((rare, 0.05), (either, 0.5)):
        for (first, second), count in shared.items():
            smaller = min(len(set(clauses[first])), len(set(clauses[second])))
            if count >= 3 and count >= share * smaller:
                low, high = sorted((root[first], root[second]))
                root = [low if each == high else each for each in root]
    return root


@given(
    st.lists(st.lists(st.integers(0, 30), max_size=20), max_size=14), st.integers(1, 5), st.data()
)
def test_clusters_are_those_of_a_plain_count(
    clauses: list[list[int]], count: int, data: st.DataObject
) -> None:
    many = data.draw(st.lists(st.sampled_from(range(100, 104)), max_size=4))
    clauses = [held + many for held in clauses]
    roots = clusters(len(clauses), batches(clauses, count))
    assert roots.tolist() == plain_clusters(clauses)


def test_memory_grows_with_groups_not_with_clauses() -> None:
    count, each = 40, 5000

    def ranges() -> Batches:
        random = np.random.default_rng(0)
        for _ in range(count):
            yield (
                random.integers(0, 2**64, size=each, dtype=np.uint64),
                random.integers(0, 100, size=each),
            )

    tracemalloc.start()
    assert len(clusters(100, ranges())) == 100
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * count * each


def test_groups_without_a_clause_are_alone() -> None:
    assert tied({"甲": "短", "乙": "短"}) == {"甲": "甲", "乙": "乙"}
    assert clusters(0, iter(())).tolist() == []
