import pytest

from jielong.core.errors import DataError
from jielong.core.run_dir import RunDir, open_run
from jielong.data import splits
from jielong.data.lexicon import Lexicon
from jielong.data.sentence_pairs import SentencePair, sentence_pairs, word_pairs
from tests.corpus import record, write_prepared


def prepared(path, texts: list[tuple[str, str]]) -> RunDir:
    rows = [record(f"{n}", source, "mixed", text) for n, (source, text) in enumerate(texts)]
    write_prepared(path, {"train": rows[:-1], "valid": rows[-1:]})
    return open_run(path)


def test_pairs_come_from_both_files_once_each(tmp_path) -> None:
    texts = [(f"第{n}只鸟飞走了。", f"Bird {n} flew away.") for n in range(60)]
    blocks = [f"{zh}\n{en}" for zh, en in texts]
    again = f"{texts[0][0]}\nThe same once more."
    run = prepared(
        tmp_path / "run",
        [
            ("hsk", "\n\n".join([*blocks[:30], "一行。", "一\n二\n三"])),
            ("tales", "别处\nelsewhere"),
            ("hsk", "\n\n".join([again, *blocks[30:]])),
        ],
    )
    sides = sentence_pairs(run)
    found = [pair for side in sides.values() for pair in side]
    assert sorted(found) == sorted(SentencePair(zh, en) for zh, en in texts)
    for side, pairs in sides.items():
        assert all(splits.split(pair.zh) == side for pair in pairs)


def test_too_few_pairs_are_refused(tmp_path) -> None:
    run = prepared(tmp_path / "run", [("tales", "一。\nOne."), ("tales", "二。\nTwo.")])
    with pytest.raises(DataError, match="0 pairs of sentences: too few"):
        sentence_pairs(run)


def test_a_placeholder_is_no_translation(tmp_path) -> None:
    texts = [f"第{n}只鸟飞走了。\nBird {n} flew away." for n in range(60)]
    run = prepared(tmp_path / "run", [("hsk", "\n\n".join(texts)), ("hsk", "鸟。\nplaceholder")])
    assert all(pair.zh != "鸟。" for side in sentence_pairs(run).values() for pair in side)


def test_words_that_tests_ask_for_are_left_out() -> None:
    words = [f"词{n}" for n in range(200)]
    lexicon = Lexicon(translations={word: ["first", "second"] for word in words})
    kept = [word for word in words if splits.split(word) == "train"]
    assert 0 < len(kept) < 200
    expected = [SentencePair(word, gloss) for word in kept for gloss in ("first", "second")]
    assert word_pairs(lexicon) == expected
