"""Repeats, found through the files that phases leave for each other."""

import random
from pathlib import Path

import numpy as np

from jielong.data.documents import Document
from jielong.data.near_duplicates import NearDuplicate
from jielong.data.pipeline.arrays import save_arrays
from jielong.data.pipeline.compare import NEAR, compare
from jielong.data.pipeline.fingerprint import Fingerprint
from jielong.data.pipeline.late import LateBlocks
from jielong.data.pipeline.outputs import task_output
from jielong.data.pipeline.repeats import Fingerprints, first_of_each
from jielong.data.pipeline.select import Select
from jielong.data.pipeline.workspace import Workspace

LONG = (
    "这是我们自己写的一段话，它要比四十个字长，这样才算得上一个段落，"
    "而不是一个谁都可能写出来的标题或者短句子。"
)
RANKS = {"a": 0, "b": 1}


def document(text: str, source: str = "a", key: str = "") -> Document:
    return Document(source=source, key=key or text, text=text, lang="zh", group="g")


def fingerprints(at: Workspace, parts: list[list[Document]]) -> list[Fingerprints]:
    for part, documents in enumerate(parts):
        with task_output(at, "extract", part) as output:
            for one in documents:
                output.keep(one)
        Fingerprint(at, RANKS, None, 0)(part)
    return list(map(Fingerprints.load, at.files("fingerprints")))


def unique(folder: Path, *parts: list[Document]) -> list[Document]:
    """What is left of some parts."""
    at = Workspace(folder, len(parts))
    for part, decisions in enumerate(compare(fingerprints(at, list(parts)))):
        save_arrays(at.file("decisions", part), decisions)
        Select(at, RANKS, LateBlocks(at, "files", None, None, 0))(part)
    return [document for part in range(len(parts)) for document in at.read("select", part)]


def test_the_first_in_the_given_order_stands_for_its_equals() -> None:
    keys, order = np.array([7, 5, 7, 5, 9]), np.array([3, 2, 1, 0, 4])
    assert first_of_each(keys, order).tolist() == [2, 3, 2, 3, 4]


def test_the_survivor_comes_from_the_first_source(tmp_path: Path) -> None:
    found = unique(tmp_path, [document("一。", "b"), document("二", "b")], [document("一！", "a")])
    assert [(d.source, d.text) for d in found] == [("b", "二"), ("a", "一！")]


def test_a_long_paragraph_is_kept_once(tmp_path: Path) -> None:
    own = "另外一段只有这里才有的话，也要超过四十个字才行，所以再多写几个字，" * 2
    texts = [LONG, f"题目\n\n{LONG}\n\n{own}", f"短\n\n{LONG}"]
    found = unique(tmp_path, *([document(text, key=str(i))] for i, text in enumerate(texts)))
    assert sum(LONG in d.text for d in found) == 1
    assert sum(own in d.text for d in found) == 1
    assert not any(d.text == "短" for d in found)


def test_a_paragraph_said_twice_in_one_document_is_said_once(tmp_path: Path) -> None:
    [found] = unique(tmp_path, [document(f"{LONG}\n\n甲\n\n{LONG}")])
    assert found.text == f"{LONG}\n\n甲"


def test_short_paragraphs_may_repeat(tmp_path: Path) -> None:
    texts = {"题目\n\n甲", "题目\n\n乙"}
    assert {d.text for d in unique(tmp_path, [document(text) for text in texts])} == texts


def test_planted_duplicates_are_all_found_in_any_order(tmp_path: Path) -> None:
    originals = [document(f"第{i}篇：{LONG}{i}", "a", str(i)) for i in range(100)]
    copies = [document(d.text.replace("，", ", ").upper(), "b", d.key) for d in originals]
    everything = originals + copies
    random.Random(0).shuffle(everything)
    found = unique(tmp_path, everything[:37], everything[37:150], [], everything[150:])
    assert sorted(found, key=lambda d: d.id) == sorted(originals, key=lambda d: d.id)


def test_what_is_nearly_the_same_goes_by_the_callers_word(tmp_path: Path) -> None:
    parts = [[document("甲"), document("乙")], [document("丙"), document("甲。", "b")]]
    tables = fingerprints(Workspace(tmp_path, 2), parts)
    asked = []

    def near(left: list[np.ndarray]) -> list[NearDuplicate]:
        asked.extend(part.tolist() for part in left)
        return [NearDuplicate(document=(1, 0), kept=(0, 1), jaccard=0.75)]

    first, second = compare(tables, near)
    assert asked == [[True, True], [True, False]]  # the last one equals the first
    assert first.fates.tolist() == [0, 0]
    assert second.fates[0] == NEAR
    assert second.kept_ids[0] == int(parts[0][1].id, 16)
    assert second.similarity[0] == np.float32(0.75)
    assert second.kept_ids[1] == int(parts[0][0].id, 16)
