import copy
from pathlib import Path

import pytest
import tokenizers

from jielong.core.errors import DataError
from jielong.tokenizer.bpe import StreamDecoder, Tokenizer
from jielong.tokenizer.special_tokens import SPECIAL, SPELLINGS
from tests.tiny import TEXTS, tokenizer


def test_special_tokens_come_first() -> None:
    assert SPELLINGS == ("<pad>", "<bos>", "<eos>", "<system>", "<user>", "<assistant>")
    assert SPECIAL == (0, 1, 2, 3, 4, 5)
    assert [SPECIAL.role(name) for name in ("system", "user", "assistant")] == [3, 4, 5]


def test_merges_are_learned_by_hand_count() -> None:
    """'aab' four times: (a, a) and (a, b) both occur 4 times, then their result with the rest."""
    learned = Tokenizer.train(["aab " * 4], 6 + 256 + 2)
    assert learned.vocab_size == 264
    assert len(learned.encode("aab")) == 1
    assert learned.decode_bytes([263]) == b"aab"
    assert len(learned.encode("ba")) == 2  # a pair that never occurred


def test_each_common_han_character_is_one_token() -> None:
    learned = Tokenizer.train(["春风化雨"] * 20, 400)
    ids = learned.encode("春风化雨风")
    assert [learned.decode([i]) for i in ids] == list("春风化雨风")  # never two in one token


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("the cat 's", ["the", " cat", " '", "s"]),
        ("don't", ["don", "'t"]),
        ("12345", ["12", "34", "5"]),
        ("a字b", ["a", "字", "b"]),
        ("x\n\n  y", ["x", "\n\n", " ", " y"]),
        ("naïve", ["naïve"]),
        ("是的，好", ["是", "的", "，", "好"]),
        ("，then。Yes", ["，", "then", "。", "Yes"]),
        ("Tシャツを着る", ["T", "シャツ", "を", "着", "る"]),
        ("らーめんラーメン", ["らーめん", "ラーメン"]),
        ("한국abcדברя", ["한국", "abc", "דבר", "я"]),
        ("ok👍🏽❤\ufe0flove", ["ok", "👍🏽❤\ufe0f", "love"]),
        ("cafe\u0301s", ["cafe\u0301s"]),
        ("\tif x:\n\t\treturn", ["\t", "if", " x", ":", "\n", "\t", "\t", "return"]),
        ("a = 1;  \n\n    b", ["a", " =", " ", "1", ";", "  \n\n", "   ", " b"]),
        ("x²①〇々", ["x", "²①", "〇", "々"]),
    ],
)
def test_text_is_cut_before_merging(text: str, pieces: list[str]) -> None:
    """Trained on nothing else, each piece has become one token: the cuts are what is left."""
    learned = Tokenizer.train([text] * 50, 400)
    assert [learned.decode([i]) for i in learned.encode(text)] == pieces


def test_han_can_be_cut_into_words_and_digits_into_threes() -> None:
    text = "春风化雨，12345"
    learned = Tokenizer.train([text] * 50, 400, han="words", digits=3)
    assert [learned.decode([i]) for i in learned.encode(text)] == ["春风化雨", "，", "123", "45"]


def test_a_copy_is_the_same_tokenizer() -> None:
    tokenizer().encode("a")  # what it derived is not copied
    twin = copy.deepcopy(tokenizer())
    assert twin.sha256 == tokenizer().sha256
    assert twin.encode(TEXTS[0]) == tokenizer().encode(TEXTS[0])


def test_learning_reads_its_texts_once() -> None:
    drawn = []
    Tokenizer.train((drawn.append(text) or text for text in TEXTS), 300)
    assert drawn == [*TEXTS]


def test_a_batch_over_several_threads_is_its_texts_one_by_one() -> None:
    texts = [text * (i % 7) * 40 for i, text in enumerate(TEXTS * 10)]
    assert sum(map(len, texts)) > 100_000
    assert tokenizer().encode_batch(texts) == [tokenizer().encode(text) for text in texts]


def test_a_long_run_without_a_break_is_encoded() -> None:
    for run in ("a" * 200_000, " " * 1_100_000, "。" * 100_000):
        assert tokenizer().decode(tokenizer().encode(run)) == run


def test_training_twice_gives_the_same_file(tmp_path: Path) -> None:
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    for file in files:
        Tokenizer.train(TEXTS, 300).save(file)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_save_and_load(tmp_path: Path) -> None:
    tokenizer().save(tmp_path)
    for path in (tmp_path, tmp_path / "tokenizer.json"):
        read = Tokenizer.load(path)
        assert read.vocab_size == tokenizer().vocab_size
        assert read.encode(TEXTS[0]) == tokenizer().encode(TEXTS[0])
        assert not set(read.encode("<eos><user>")) & set(SPECIAL)


def test_the_file_is_a_standard_one(tmp_path: Path) -> None:
    """The library that we did not write reads the same ids from it, and the same text back."""
    tokenizer().save(tmp_path)
    other = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in TEXTS:
        ids = other.encode(text, add_special_tokens=False).ids
        assert ids == tokenizer().encode(text)
        assert other.decode(ids) == text


def test_a_file_that_is_no_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"tokenizer\.json: no tokenizer here"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match=r"tokenizer\.json: not a tokenizer"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("[]", encoding="utf-8")
    with pytest.raises(DataError, match=r"tokenizer\.json: not a tokenizer \(holds no table\)"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "BPE"}}', encoding="utf-8")
    with pytest.raises(DataError, match=r"tokenizer\.json"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"tokenizer\.json"):
        Tokenizer.load(tmp_path)


def test_a_vocabulary_too_small_for_the_bytes_is_refused() -> None:
    with pytest.raises(DataError, match="vocab_size: 261: must be at least 262"):
        Tokenizer.train(TEXTS, 261)
    assert Tokenizer.train(TEXTS, 262).vocab_size == 262


def test_spellings_in_the_text_never_become_special_tokens() -> None:
    """Not even when the text is full of them, so that merging could build one."""
    learned = Tokenizer.train(["<eos><user> <assistant>" * 50], 400)
    for text in ("<eos>", "a<eos>b", "<user><bos><pad>", " <assistant> "):
        ids = learned.encode(text)
        assert not set(ids) & set(SPECIAL)
        assert learned.decode(ids) == text


def test_special_tokens_have_no_text() -> None:
    ids = [1, 4, *tokenizer().encode("晴空"), 2, 0]
    assert tokenizer().decode(ids) == "晴空"


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(DataError, match="lone surrogate"):
        tokenizer().encode("a\ud800b")


def test_half_a_character_is_shown_as_such_only_at_the_end() -> None:
    """龘 is outside the training text: three byte tokens, E9 BE 98."""
    first, second, third = tokenizer().encode("龘")
    decoder = StreamDecoder(tokenizer())
    assert [decoder.push(i) for i in (first, second, third)] == ["", "", "龘"]
    decoder = StreamDecoder(tokenizer())
    assert decoder.push(first) == ""
    assert decoder.finish() == "\ufffd"
    decoder = StreamDecoder(tokenizer())
    decoder.push(first)
    assert decoder.push(tokenizer().encode("a")[0]) == "\ufffda"


def test_merges_and_pieces_tell_how_a_text_is_made() -> None:
    """'aab' four times, as above: (a, a) becomes 262, (262, b) becomes 263."""
    learned = Tokenizer.train(["aab " * 4], 6 + 256 + 2)
    a, b = learned.encode("a b")[0], learned.encode("b")[0]
    assert learned.merges == {(a, a): 262, (262, b): 263}
    assert learned.pieces("aabb c")[0] == [a, a, b, b]
    assert len(learned.pieces("aabb c")) == 2


def test_describe_counts_merges() -> None:
    assert tokenizer().describe() == {"vocab_size": 300, "merges": 300 - 262}
