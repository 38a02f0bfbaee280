"""Repeats, found through the files that phases leave for each other."""

import random
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from jielong.data.documents import Document
from jielong.data.near_duplicates import NearDuplicate
from jielong.data.pipeline import entries
from jielong.data.pipeline.arrays import save_arrays
from jielong.data.pipeline.compare import KEPT, NEAR, Decisions, Near, compare
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


def ranked(*texts: str) -> list[Document]:
    """Documents, the most trusted first."""
    keys = sorted(map(str, range(len(texts))), key=lambda key: document("", key=key).id)
    return [document(text, key=key) for text, key in zip(texts, keys, strict=True)]


def decided(at: Workspace, near: Near | None = None) -> list[Decisions]:
    return list(compare(at.files("fingerprints"), at.files("paragraphs", "bin"), near))


def fingerprinted(folder: Path, parts: list[list[Document]]) -> Workspace:
    at = Workspace(folder, len(parts))
    for part, documents in enumerate(parts):
        with task_output(at, "extract", part) as output:
            for one in documents:
                output.keep(one)
        Fingerprint(at, RANKS, None, 0)(part)
    return at


def unique(folder: Path, *parts: list[Document], near: Near | None = None) -> list[Document]:
    """What is left of some parts."""
    at = fingerprinted(folder, list(parts))
    for part, decisions in enumerate(decided(at, near)):
        save_arrays(at.file("decisions", part), decisions)
        Select(at, RANKS, LateBlocks(at, "files", None, None, 0))(part)
    return [document for part in range(len(parts)) for document in at.read("select", part)]


def saying(*repeats: tuple[int, int, float]) -> Callable[..., list[NearDuplicate]]:
    """Of the one part there is, these rows nearly repeat those."""
    return lambda _rank, _left: [
        NearDuplicate(document=(0, row), kept=(0, kept), jaccard=jaccard)
        for row, kept, jaccard in repeats
    ]


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
    at = fingerprinted(tmp_path, parts)
    asked = []

    def near(rank: np.ndarray, left: np.ndarray) -> list[NearDuplicate]:
        asked.append((rank.tolist(), left.tolist()))
        return [NearDuplicate(document=(1, 0), kept=(0, 1), jaccard=0.75)]

    first, second = decided(at, near)
    trusted = sorted([*parts[0], parts[1][0]], key=lambda one: one.id)
    ranks = [trusted.index(one) for one in [*parts[0], parts[1][0]]]
    assert asked == [([*ranks, 3], [True, True, True, False])]  # the last one equals the first
    assert first.fates.tolist() == [0, 0]
    assert second.fates[0] == NEAR
    assert second.kept_ids[0] == int(parts[0][1].id, 16)
    assert second.similarity[0] == np.float32(0.75)
    assert second.kept_ids[1] == int(parts[0][0].id, 16)


def test_a_paragraph_is_not_cut_for_a_document_that_nearly_repeats_another(
    tmp_path: Path,
) -> None:
    changed = LONG.replace("一段话", "一席话")
    documents = ranked(changed, LONG, f"甲\n\n{LONG}")
    found = unique(tmp_path, documents, near=saying((1, 0, 0.9)))
    assert [d.text for d in found] == [changed, f"甲\n\n{LONG}"]


def test_what_is_named_as_kept_stays(tmp_path: Path) -> None:
    changed = LONG.replace("一段话", "一席话")
    other = (
        "别的一段话，同样超过四十个字，好让它也算得上是一个很长的段落，所以后面再多写了好几个字。"
    )
    emptied = f"题\n\n{other}"
    texts = changed, LONG, f"{LONG}！", other, emptied, f"题目\n{other}", f"{emptied}！"
    documents = ranked(*texts, f"题目\n{other}！")
    at = fingerprinted(tmp_path, [documents])
    [found] = decided(at, saying((1, 0, 0.75), (5, 4, 0.5)))
    names = {int(one.id, 16): number for number, one in enumerate(documents)}
    # An exact copy of what nearly repeats another nearly repeats it too; what repeats a document
    # of which nothing is left repeats the one that said it all.
    assert [names[int(kept)] for kept in found.kept_ids] == [0, 0, 0, 3, 3, 3, 3, 3]
    assert found.fates.tolist() == [0, 2, 2, 0, 1, 2, 1, 2]
    assert found.similarity.tolist() == [1, 0.75, 0.75, 1, 1, 0.5, 1, 0.5]


@pytest.mark.parametrize("seed", range(20))
def test_no_paragraph_is_lost_whatever_repeats_what(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(entries, "_RUN", 4)
    monkeypatch.setattr(entries, "_RANGE", 4)
    random_ = random.Random(seed)
    paragraphs = [f"{chr(0x4E00 + number) * 50}" for number in range(12)]
    texts = [random_.choices(paragraphs, k=random_.randrange(1, 4)) for _ in range(24)]
    documents = [
        document("\n\n".join(text), random_.choice("ab"), str(number))
        for number, text in enumerate(texts)
    ]
    parts = [documents[:5], [], documents[5:17], documents[17:]]
    where = [(part, row) for part, those in enumerate(parts) for row in range(len(those))]

    def near(rank: np.ndarray, left: np.ndarray) -> list[NearDuplicate]:
        """Some of the documents, told from the most trusted on, each with an earlier one."""
        order = [int(place) for place in np.argsort(rank) if left[place]]
        stays, found = order[:1], []
        for place in order[1:]:
            if random_.random() < 0.3:
                kept = random_.choice(stays)
                found.append(NearDuplicate(document=where[place], kept=where[kept], jaccard=0.5))
            else:
                stays.append(place)
        return found

    told: list[NearDuplicate] = []
    at = fingerprinted(tmp_path, parts)
    decisions = decided(at, lambda rank, left: told.extend(near(rank, left)) or told)
    fates = [int(fate) for one in decisions for fate in one.fates]
    kept = [int(one.id, 16) for one, fate in zip(documents, fates, strict=True) if fate == KEPT]
    assert {int(id_) for one in decisions for id_ in one.kept_ids} == set(kept)
    cuts = {
        (*where_, int(place))
        for part, one in enumerate(decisions)
        for where_, place in zip(((part, int(row)) for row in one.owners), one.places, strict=True)
    }
    read = [
        text
        for (part, row), paragraphs_, fate in zip(where, texts, fates, strict=True)
        for place, text in enumerate(paragraphs_)
        if fate == KEPT and (part, row, place) not in cuts
    ]
    assert len(read) == len(set(read))
    went = {repeat.document for repeat in told}
    same = {documents[where.index(place)].text for place in went}
    lost = {p for one, text in zip(documents, texts, strict=True) if one.text in same for p in text}
    assert set(read) | lost == {paragraph for text in texts for paragraph in text}
    others = [text for one, text in zip(documents, texts, strict=True) if one.text not in same]
    assert {paragraph for text in others for paragraph in text} <= set(read)


def test_memory_does_not_grow_with_paragraphs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "_RUN", 2**10)
    monkeypatch.setattr(entries, "_RANGE", 2**12)
    at, each, random_ = Workspace(tmp_path, 20), 10_000, np.random.default_rng(0)
    random_words = partial(random_.integers, 0, 2**64, dtype=np.uint64)
    for part in range(at.count):
        table = Fingerprints(
            ids=random_words(size=10),
            ranks=np.zeros(10, dtype=np.uint16),
            offsets=np.arange(10, dtype=np.uint64),
            texts=random_words(size=10),
            paragraphs=random_words(size=each),
            owners=np.repeat(np.arange(10, dtype=np.uint32), each // 10),
            places=np.tile(np.arange(each // 10, dtype=np.uint32), 10),
        )
        save_arrays(at.file("fingerprints", part), table)
    tracemalloc.start()
    decisions = decided(at)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert all((one.fates == KEPT).all() for one in decisions)
    assert peak < 8 * at.count * each  # a paragraph is 16 bytes in its part's table
