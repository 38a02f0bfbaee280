import json
from pathlib import Path

import pytest

from jielong.cli import main
from jielong.core.errors import DataError, StorageError
from jielong.core.run_dir import RunDir
from jielong.data import passages
from jielong.data.passages import describe, find
from jielong.data.prepared import open_prepared
from tests.corpus import LETTER, documents, record, write_prepared


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    return open_prepared(write_prepared(tmp_path_factory.mktemp("quick") / "prepare"))


def one(tmp_path: Path, *texts: str) -> RunDir:
    """A run whose training documents are these."""
    records = [record(f"t{n}", "own", "en", text) for n, text in enumerate(texts)]
    return open_prepared(write_prepared(tmp_path / "run", {"train": records}, whole=False))


def test_a_passage_is_found_with_its_place_and_context(run: RunDir) -> None:
    found = find(run, "The Kettle you sent", 5)
    (hit,) = found.hits
    line = (run.path / hit.file).read_text(encoding="utf-8").split("\n")[hit.line - 1]
    assert json.loads(line)["id"] == hit.id == "en-1"
    assert (hit.source, hit.lang, hit.times, hit.share) == ("letters", "en", 1, 1.0)
    assert hit.before == "Dear Wen, "
    assert hit.passage == "the kettle you sent"
    assert hit.after == LETTER[29:89] + "…"
    assert not found.more
    assert not found.near


@pytest.mark.parametrize(
    ("quoted", "original"),
    [
        ("我们要去哪里？老人说，到河的那一边", "我们要去哪里？”老人说：“到河的那一边"),
        ("船上只有三个人——老人、孩子", "船上只有三个人：老人、孩子"),
        ("清早小船", "清早，小船"),
        ("\uff37\uff28\uff2f plays; the Oboe", "who plays the oboe"),
        ("B-flat", "B flat"),
        ("没有", "没有"),
        ("wù", "wù"),
        ("wu\u0300, 英语", "wù，英语"),
        ("晴", "晴"),
        ("鹅", "鹅"),
    ],
)
def test_punctuation_width_and_case_do_not_matter(run: RunDir, quoted: str, original: str) -> None:
    assert [hit.passage for hit in find(run, quoted, 5).hits] == [original]


def test_one_character_may_stand_for_several(tmp_path: Path) -> None:
    run = one(tmp_path, "A crate of 5㎏ holds three ﬁsh; e\u0301toile, Ⅳ.")
    for quoted, original in (("5kg holds", "5㎏ holds"), ("Fish", "ﬁsh"), ("éto", "e\u0301to")):
        assert [hit.passage for hit in find(run, quoted, 1).hits] == [original]
    assert find(run, "iv", 1).hits[0].passage == "Ⅳ"


def test_hits_come_in_the_order_of_the_corpus_and_are_limited(run: RunDir) -> None:
    holding = [r["id"] for side in documents().values() for r in side if "号驿站" in str(r["text"])]
    found = find(run, "号驿站", 100)
    assert [hit.id for hit in found.hits] == holding
    assert not found.more
    assert find(run, "号驿站", len(holding)).more is False
    few = find(run, "号驿站", 3)
    assert [hit.id for hit in few.hits] == holding[:3]
    assert few.more


def test_trigrams_that_are_scattered_are_no_passage(tmp_path: Path) -> None:
    run = one(tmp_path, "abcd xx bcde yy cdef", "zz abcdef")
    assert [hit.id for hit in find(run, "abcdef", 5).hits] == ["t1"]


def test_a_search_that_would_read_everything_ends_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scattered = ["abcd xx bcde yy cdef"] * 5
    run = one(tmp_path, *scattered, "zz abcdef")
    monkeypatch.setattr(passages, "_MOST_READ", 4)
    found = find(run, "abcdef", 3)
    assert (found.hits, found.unread) == ((), 2)
    assert describe(found).plain.splitlines() == [
        "None of the first documents holds this, and none comes near.",
        "Not read: 2 more documents that may hold this: give more words.",
    ]
    monkeypatch.setattr(passages, "_MOST_READ", 6)
    found = find(run, "abcdef", 3)
    assert ([hit.id for hit in found.hits], found.unread) == (["t5"], 0)


def test_how_often_a_document_holds_it(tmp_path: Path) -> None:
    (hit,) = find(one(tmp_path, "tick tock, TICK-TOCK. tick"), "tick tock", 5).hits
    assert hit.times == 2


def test_a_long_passage_is_found_and_its_middle_is_not_printed(tmp_path: Path) -> None:
    text = " ".join(f"step {n}" for n in range(500))
    found = find(one(tmp_path, "Before. " + text + " After.", "step 1 step 2"), text, 5)
    (hit,) = found.hits
    assert hit.passage == text
    assert (hit.before, hit.after) == ("Before. ", " After.")
    assert "[…]" in describe(found).plain
    assert len(describe(found).plain) < 600


def test_what_a_terminal_obeys_is_not_printed(tmp_path: Path) -> None:
    (hit,) = find(one(tmp_path, "red\x1b[31m\nalert \u202efinis"), "alert finis", 5).hits
    assert hit.before == "red [31m "
    assert hit.passage == "alert  finis"


def test_near_matches_tell_their_share(tmp_path: Path) -> None:
    quoted = "abcdefghijklmnopqrstuvwxyz"  # 14 runs of 13 characters
    run = one(tmp_path, "abcdefghijklmno 1 uvwxyz", "klm", "xx bcdefghijklmn yy")
    found = find(run, quoted, 5)
    assert found.hits == ()
    # "abcdefghijklmno" holds 3 of them, "bcdefghijklmn" one.
    assert [(hit.id, round(14 * hit.share)) for hit in found.near] == [("t0", 3), ("t2", 1)]
    assert found.near[0].passage == "abcdefghijklmno"
    assert "No document holds this. These come near:" in describe(found).plain
    assert "21% of the passage" in describe(found).plain


def test_nothing_is_found(run: RunDir) -> None:
    for absent in ("zq", "zebra crossing", "完全没有出现过的一句很长很长的话"):
        found = find(run, absent, 5)
        assert (found.hits, found.near) == ((), ())
        assert describe(found).plain == "No document holds this, and none comes near."


def test_a_passage_without_letters_is_refused(run: RunDir) -> None:
    with pytest.raises(DataError, match="no letter or digit"):
        find(run, " ……！", 5)


def test_the_index_is_made_once_and_again_for_other_documents(tmp_path: Path) -> None:
    run = one(tmp_path, "the first text")
    index = run.path / passages.INDEX
    assert find(run, "first", 1).hits
    made = index.stat().st_ino
    assert find(run, "text", 1).hits
    assert index.stat().st_ino == made
    again = open_prepared(
        write_prepared(run.path, {"train": [record("n", "own", "en", "a new text")]}, whole=False)
    )
    assert find(again, "new", 1).hits
    assert not find(again, "first", 1).hits
    assert index.stat().st_ino != made


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0 and then nothing", b"x" * 5000])
def test_a_damaged_index_is_made_anew(tmp_path: Path, content: bytes) -> None:
    run = one(tmp_path, "some text")
    (run.path / passages.INDEX).write_bytes(content)
    assert find(run, "some text", 1).hits


def test_a_failure_leaves_no_index_behind(tmp_path: Path) -> None:
    run = one(tmp_path, "some text")
    with (run.path / "documents" / "train.jsonl").open("a") as file:
        file.write('{"id": "half')
    with pytest.raises(DataError, match=r"train\.jsonl:2: damaged"):
        find(run, "some text", 1)
    assert sorted(path.name for path in run.path.iterdir()) == ["documents", "manifest.json"]


def test_a_disk_that_refuses_is_named(tmp_path: Path) -> None:
    run = one(tmp_path, "some text")
    (run.path / passages.INDEX).mkdir()
    with pytest.raises(StorageError, match=r"passages\.sqlite: the index cannot be written"):
        find(run, "some text", 1)
    assert not list(run.path.glob(".*"))


def test_the_command(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    quick = str(run.path.parent)
    assert main(["data", "find", "三个人", "--dir", quick]) == 0
    place, passage = capsys.readouterr().out.splitlines()
    assert place == "documents/train.jsonl:1  tales  zh  zh-1"
    assert passage.strip().startswith("清早，小船离开码头。船上只有三个人：老人")
    assert main(["data", "find", "号驿站", "--dir", quick, "-k", "2"]) == 0
    assert capsys.readouterr().out.endswith("There are more: -k N shows N of them.\n")
    assert main(["data", "find", "no such sentence", "--dir", quick]) == 0
    assert "No document holds this" in capsys.readouterr().out
    assert main(["data", "find", "x", "--dir", str(run.path / "nowhere")]) == 1
    with pytest.raises(SystemExit, match="2"):
        main(["data", "find", "x", "--dir", quick, "-k", "0"])
