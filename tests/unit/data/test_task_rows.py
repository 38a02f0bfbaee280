import json
from pathlib import Path

import pytest

from jielong.core.errors import DataError
from jielong.data import splits
from jielong.data.lexicon import Lexicon
from jielong.data.task_rows import (
    Encoded,
    Example,
    batch_of,
    drawn,
    encode,
    read_examples,
    word_examples,
)
from tests.tiny import tokenizer

GOOD = {
    "classification": {"text": "a", "label": "x"},
    "similarity": {"first": "a", "second": "b", "label": 1},
    "entailment": {"premise": "a", "hypothesis": "b", "label": "no"},
    "choice": {"context": "a", "choices": ["b", "c"], "label": 1},
}
ROWS = {
    "classification": Example((("a",),), "x"),
    "similarity": Example((("a", "b"), ("b", "a")), "1"),
    "entailment": Example((("a", "b"),), "no"),
    "choice": Example((("a", "b"), ("a", "c")), "1"),
}


def write(path: Path, *records: object) -> Path:
    path.write_text("\n".join(json.dumps(r) for r in records), encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", GOOD)
def test_a_line_becomes_the_rows_of_its_kind(kind: str, tmp_path: Path) -> None:
    assert read_examples(write(tmp_path / "a.jsonl", GOOD[kind]), kind) == [ROWS[kind]]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "record", "message"),
    [
        ("classification", {"text": "a"}, "has text: a classification line has text, label"),
        ("classification", [1], "has list: a classification line"),
        ("classification", {"text": " ", "label": "x"}, "text: expected text that is not empty"),
        ("classification", {"text": "a", "label": ""}, "label: '': give a word or a whole"),
        ("classification", {"text": "a", "label": True}, "label: True: give a word"),
        ("entailment", {"premise": "a", "hypothesis": 3, "label": "x"}, "hypothesis: expected"),
        ("choice", {"context": "a", "choices": ["b"], "label": 0}, "choices: expected a list"),
        ("choice", {"context": "a", "choices": ["b", ""], "label": 0}, r"choices\[1\]: expected"),
        ("choice", {"context": "a", "choices": ["b", "c"], "label": 2}, "label: 2: give the right"),
        ("choice", {"context": "a", "choices": ["b", "c"], "label": "b"}, "label: 'b': give the"),
    ],
)
def test_a_bad_line_is_named(kind: str, record: object, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", GOOD[kind], record)
    with pytest.raises(DataError, match=f"a.jsonl:2: {message}") as caught:
        read_examples(path, kind)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="empty: write one example a line"):
        read_examples(write(tmp_path / "a.jsonl"), "choice")


def test_rows_of_tokens() -> None:
    """<bos> 1, <eos> 2, and the delimiter is the slot of <user>."""
    a, b = tokenizer().encode("春风"), tokenizer().encode("fox")
    example = Example((("春风", "fox"), ("fox", "春风")), "yes")
    (found,) = encode(tokenizer(), [example], ["no", "yes"], 100)
    assert found == Encoded(((1, *a, 4, *b, 2), (1, *b, 4, *a, 2)), 1, is_cut=False)
    (one,) = encode(tokenizer(), [Example((("春风",),), "maybe")], ["no", "yes"], 100)
    assert one == Encoded(((1, *a, 2),), -1, is_cut=False)


def test_the_longer_text_loses_its_end() -> None:
    long, short = tokenizer().encode("春风化雨雨过天晴"), tokenizer().encode("fox")
    texts = ("春风化雨雨过天晴", "fox")
    (found,) = encode(tokenizer(), [Example((texts,), "x")], ["x"], len(short) + 3 + 4)
    assert found == Encoded(((1, *long[:4], 4, *short, 2),), 0, is_cut=True)


def test_a_batch_by_hand() -> None:
    examples = [
        Encoded(((1, 7, 2), (1, 8, 9, 2)), 1, is_cut=False),
        Encoded(((1, 2),), 0, is_cut=False),
    ]
    ids, lengths, labels = batch_of(examples, pad=0)
    assert ids.tolist() == [[[1, 7, 2, 0], [1, 8, 9, 2]], [[1, 2, 0, 0], [0, 0, 0, 0]]]
    assert lengths.tolist() == [[3, 4], [2, 0]]
    assert labels.tolist() == [1, 0]


def test_each_pass_sees_every_example_once_in_another_order() -> None:
    examples = [Encoded(((i,),), 0, is_cut=False) for i in range(10)]
    seen = [e.rows[0][0] for step in range(5) for e in drawn(examples, 4, 3, step)]
    first, second = seen[:10], seen[10:]
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    assert [e.rows[0][0] for e in drawn(examples, 4, 3, 2)] == seen[8:12]
    assert [e.rows[0][0] for e in drawn(examples, 4, 4, 2)] != seen[8:12]


def test_words_of_one_field_on_the_right_side_of_the_wall() -> None:
    words = [f"{a}{b}" for a in "天地人山水火木金土日月" for b in "月风云花鸟虫鱼龙虎马"]
    categories = {word: [("动物", "食物")[i % 2]] for i, word in enumerate(words)}
    categories["天月"] = ["动物", "食物"]
    for side in ("train", "test"):
        found = word_examples(Lexicon(categories=categories), side, 0)
        expected = {w: c[0] for w, c in categories.items() if splits.split(w) == side}
        expected.pop("天月", None)
        assert {e.rows[0][0]: e.label for e in found} == expected
    with pytest.raises(DataError, match="no train words of known fields"):
        word_examples(Lexicon(), "train", 0)
