import json
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from jielong.cli import main
from jielong.core.errors import DataError, RunDirectoryError
from jielong.core.files import sha256_file
from jielong.data.shards import Shard
from jielong.evaluation.corpus_data import Corpus, gather
from jielong.evaluation.corpus_report import findings_of, render, write_corpus_report
from jielong.evaluation.corpus_sections import excerpt
from tests.corpus import documents, drop, record, write_lines, write_prepared
from tests.pages import Page

HEADINGS = [
    "Have a look",
    "Sources",
    "Step by step",
    "Size and weight",
    "Lengths",
    "Scripts",
    "Why documents were dropped",
    "Duplicates",
    "Most repetitive",
    "Could not be read",
    "Whose text it is",
    "Not shown",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_prepared(tmp_path_factory.mktemp("quick") / "prepare")


@pytest.fixture(scope="module")
def corpus(run: Path) -> Corpus:
    return gather(run)


@pytest.fixture(scope="module")
def page(run: Path, corpus: Corpus) -> tuple[str, Page]:
    text = write_corpus_report(run, corpus).read_text(encoding="utf-8")
    return text, Page(text)


def write_tokenized(run: Path, name: str = "tokenize", bos: int = 1) -> Path:
    """A tokenize run of it: a document of n characters has n tokens and one more to begin with."""
    path = run.parent / name
    path.mkdir()
    inputs = {"documents": sha256_file(run / "manifest.json")}
    manifest: dict = {"stage": "tokenize", "finished": True, "inputs": inputs}
    for side, records in documents().items():
        texts = [str(r["text"]) for r in records]
        shard = Shard.pack(
            [[7] * len(t) for t in texts], bos, ["zh"] * len(texts), [1] * len(texts)
        )
        shard.save(path / f"{side}.npz")
        manifest[side] = {"tokens": len(shard.tokens)}
    (path / "manifest.json").write_text(json.dumps(manifest))
    return path


def test_what_was_kept_is_counted(corpus: Corpus) -> None:
    records = [r for side in documents().values() for r in side]
    counts = Counter((r["source"], r["lang"]) for r in records)
    assert {key: cell.documents for key, cell in corpus.cells.items()} == counts
    sizes: Counter = Counter()
    for r in records:
        sizes[r["source"], r["lang"]] += len(str(r["text"]).encode())
    assert {key: cell.bytes for key, cell in corpus.cells.items()} == sizes
    assert corpus.documents == len(records)
    assert corpus.bytes == sum(sizes.values())
    lengths = sorted(len(str(r["text"])) for r in records if r["lang"] == "en")
    assert sorted(corpus.lengths["en"]) == lengths
    assert corpus.languages() == sorted({"zh", "en", "mixed"}, key=lambda lang: -sum(
        size for (_, spoken), size in sizes.items() if spoken == lang))  # fmt: skip


def test_the_whole_page(page: tuple[str, Page]) -> None:
    _, read = page
    assert read.words["h2"] == HEADINGS
    words = [word for tag in ("text", "td", "dd") for word in read.words[tag]]
    shown = " ".join(words)
    for figure in ("57\u2003−7", "4.5 epochs", "75 %", "17", "not UTF-8"):
        assert figure in shown, figure
    assert "tales is read 4.5 times: more text or less weight is better." in read.words["li"]
    assert "1 piece of input could not be read: see below." in read.words["li"]
    assert "notes/<b>.txt" in read.words["code"]
    assert "words gave no running text." in read.words["li"]


def test_nothing_is_fetched_and_nothing_runs(page: tuple[str, Page]) -> None:
    text, read = page
    assert not {"script", "link", "iframe", "img", "object", "image"} & set(read.tags)
    assert all(link.startswith("#") and link[1:] in read.ids for link in read.links)
    assert "@import" not in text
    used = set(re.findall(r"var\(--([\w-]+)\)", text))
    assert used <= set(re.findall(r"--([\w-]+):", text))
    assert "c0de" not in text


def test_texts_of_documents_are_escaped(page: tuple[str, Page]) -> None:
    text, read = page
    assert "<script>" not in text
    assert "<script>alert('drop')</script>" in read.words["p"]
    assert "\x00" not in text
    assert "Bonjour \u202e le \ufffd monde \ufffd!" in text  # isolated by the page's styles
    assert "A & B <press>" in read.words["td"]


def test_the_same_run_gives_the_same_bytes(run: Path, corpus: Corpus) -> None:
    assert render(gather(run)) == render(corpus)


def test_each_rule_shows_five_drops_and_their_kept_neighbours(corpus: Corpus) -> None:
    rule = corpus.rules["heuristics.too_short"]
    assert rule.documents == 6
    assert rule.cells == {("letters", "en"): 6}
    assert len({dropped.id for dropped, _ in rule.examples}) == 5
    letters = [r for side in documents().values() for r in side if r["source"] == "letters"]
    sizes = sorted(len(str(r["text"]).encode()) for r in letters)
    for dropped, kept in rule.examples:
        assert kept is not None
        assert kept.source == "letters"
        assert kept.bytes == min(sizes, key=lambda size: abs(size - dropped.bytes))
    ((foreign, _),) = corpus.rules["language.fr"].examples
    assert foreign.detail == "400 characters"


def test_clusters_of_duplicates(page: tuple[str, Page], corpus: Corpus) -> None:
    assert corpus.clusters is not None
    assert corpus.clusters.sizes == {4: 1, 2: 1}
    assert corpus.clusters.similarities == {80: 1, 85: 1, 90: 1}
    assert [c["kept"] for c in corpus.clusters.largest] == ["en-1", "zh-1"]
    notes = " ".join(page[1].words["p"])
    assert "2 texts stood there more than once (1 exact and 1 near)" in notes
    assert "4 were dropped" in notes


def test_the_most_repetitive_comes_first(corpus: Corpus) -> None:
    share, place, example = corpus.repetitive[0]
    assert example.id == "loop"
    line = len(documents()["train"])
    assert place == f"documents/train.jsonl:{line}"
    assert share > 0.9  # one sentence of thirty characters, forty times
    assert corpus.repeating >= 1


def test_tokens_of_the_neighbouring_run(tmp_path: Path, corpus: Corpus) -> None:
    run = write_prepared(tmp_path / "prepare")
    tokenized = write_tokenized(run)
    found = gather(run)
    for key, cell in found.cells.items():
        lengths = [
            len(str(r["text"]))
            for side in documents().values()
            for r in side
            if (r["source"], r["lang"]) == key
        ]
        assert cell.tokens == sum(lengths) + len(lengths)
    assert "Tokens" in Page(render(found)).words["dt"]
    assert corpus.tokens == 0
    assert gather(run, tokenized).tokens == found.tokens


def test_tokens_of_another_text_are_refused(tmp_path: Path) -> None:
    run = write_prepared(tmp_path / "prepare")
    other = write_tokenized(run)
    write_prepared(run, commit="other")
    assert gather(run).has_tokens is False
    with pytest.raises(RunDirectoryError, match="was made from another text"):
        gather(run, other)
    with pytest.raises(RunDirectoryError, match="not a run directory"):
        gather(run, tmp_path / "nowhere")


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    run = write_prepared(tmp_path / "prepare")
    (write_tokenized(run) / "valid.npz").write_bytes(b"PK but no archive")
    with pytest.raises(DataError, match=r"valid\.npz: not a token shard"):
        gather(run)


def test_a_run_that_kept_no_lists(tmp_path: Path) -> None:
    run = write_prepared(tmp_path / "prepare", whole=False)
    corpus = gather(run)
    read = Page(render(corpus))
    gone = {"Step by step", "Duplicates", "Could not be read"}
    assert read.words["h2"] == [heading for heading in HEADINGS if heading not in gone]
    reasons = " ".join(read.words["li"])
    for file in ("dropped/*.jsonl", "duplicates.jsonl", "rejected.jsonl", "lists no steps"):
        assert file in reasons
    assert corpus.rules["over_cap"].documents == 20  # as the manifest says, ten a source
    assert corpus.rules["over_cap"].cells == {("tales", ""): 10, ("letters", ""): 10}


def test_empty_lists_are_good_news(tmp_path: Path) -> None:
    run = write_prepared(tmp_path / "prepare")
    for name in ("duplicates.jsonl", "rejected.jsonl", "dropped/part-0.jsonl"):
        (run / name).write_text("")
    corpus = gather(run)
    assert "All input could be read." in findings_of(corpus)[1]
    read = Page(render(corpus))
    assert {"Duplicates", "Could not be read"}.isdisjoint(read.words["h2"])
    assert corpus.rules == {}


def test_documents_that_are_not_the_manifests_are_a_concern(tmp_path: Path) -> None:
    run = write_prepared(tmp_path / "prepare")
    with (run / "documents" / "valid.jsonl").open("a") as file:
        file.write(json.dumps(record("new", "tales", "en", "An extra one.")) + "\n")
    concerns, findings = findings_of(gather(run))
    assert any(text.startswith("valid.jsonl holds 3 documents") for text in concerns)
    assert any(text.startswith("train.jsonl holds what the manifest says") for text in findings)


def test_a_source_of_which_nothing_was_kept_is_a_concern(tmp_path: Path) -> None:
    gone = {"extracted": {"documents": 7, "bytes": 70}, "dropped": {}}
    run = write_prepared(tmp_path / "prepare", sources={"verse": gone})
    assert "Of verse nothing was kept: all of 7 documents went." in findings_of(gather(run))[0]


def test_quality_scores_where_there_are_some(tmp_path: Path) -> None:
    scored = [{**r, "quality": 0.9} for r in documents()["train"]]
    run = write_prepared(tmp_path / "prepare", {"train": scored}, quality={"alpha": 9.0})
    low = drop("q1", "tales", "zh", "quality.low", "……")
    other = drop("q2", "tales", "zh", "over_cap", "……")
    write_lines(run / "dropped" / "q.jsonl", [{**low, "quality": 0.1}, {**other, "quality": 0.8}])
    corpus = gather(run)
    assert np.allclose(corpus.scores["dropped"], [0.1])
    # The cap came later: the classifier had kept what it took.
    assert sorted(np.round(corpus.scores["kept"], 6)) == [0.8, *[0.9] * len(scored)]
    read = Page(render(corpus))
    assert "Quality" in read.words["h2"]
    assert "−9" in read.words["sup"]


def test_hostile_names_are_escaped(tmp_path: Path) -> None:
    name = '"><img src=x onerror=y> $\\frac$ 接龙'
    run = write_prepared(tmp_path / name / "prepare", {"train": [record("a", name, name, "text")]})
    text = render(gather(run))
    assert "<img" not in text
    Page(text)


def test_a_text_is_cut_where_it_was_said(tmp_path: Path) -> None:
    assert excerpt("  one\n\n\n two ", 7) == "one\ntwo"
    assert excerpt("one two", 5) == "one t…"
    assert excerpt("a\x1b[31m\ud800b") == "a\ufffd[31m\ufffdb"


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    run = write_prepared(tmp_path / "prepare")
    (run / "dropped" / "part-1.jsonl").write_text('{"id": "a", "source": "s", "lang": "zh"}\n')
    with pytest.raises(DataError, match=r"part-1\.jsonl:1: damaged \('rule'\)"):
        gather(run)


def test_the_command(run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    quick = tmp_path / "quick"
    shutil.copytree(run, quick / "prepare")
    assert main(["data", "stats", str(quick)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == str(quick / "stats.html")
    table = [re.split(r"\s{2,}", line.strip()) for line in lines[:-1]]
    assert table[0] == ["source", "language", "documents", "MB", "share", "dropped", "why"]
    rows = {(row[0], row[1]): row[2:] for row in table[1:]}
    assert rows["letters", "English"][0] == "21"
    assert rows["letters", "English"][3:] == ["6", "heuristics.too_short 6"]
    assert rows["tales", "fr"] == ["–", "–", "–", "1", "language.fr 1"]
    assert rows["tales", "mixed"][3:] == ["–"]
    assert rows["all", "52"][2:] == ["7", "heuristics.too_short 6, language.fr 1"]
    assert main(["data", "stats", str(tmp_path)]) == 1
