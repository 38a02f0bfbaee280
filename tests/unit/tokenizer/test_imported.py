"""Files as other makers write them, built here by the library that they use."""

import copy
import json
from pathlib import Path

import pytest
import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer, WordPieceTrainer

from jielong.core.errors import DataError
from jielong.tokenizer.bpe import StreamDecoder, Tokenizer
from jielong.tokenizer.chat_template import render
from tests.foreign import like_gemma
from tests.tiny import TEXTS

ALPHABET = pre_tokenizers.ByteLevel.alphabet()


def like_gpt2() -> tokenizers.Tokenizer:
    """One special token, at the end, and no file beside it that says what it is for."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.ByteLevel(trim_offsets=False)
    backend.train_from_iterator(
        TEXTS, BpeTrainer(vocab_size=320, initial_alphabet=ALPHABET, show_progress=False)
    )
    backend.add_special_tokens(["<|endoftext|>"])
    backend.enable_truncation(4)
    return backend


def like_qwen(folder: Path) -> tokenizers.Tokenizer:
    """A normaliser, several special tokens, ordinary added ones, and a config."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\p{L}+|\p{N}|[^\p{L}\p{N}]"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    backend.train_from_iterator(
        TEXTS, BpeTrainer(vocab_size=330, initial_alphabet=ALPHABET, show_progress=False)
    )
    backend.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    backend.add_tokens([AddedToken("<tool_call>", special=False, normalized=False)])
    config = {
        "bos_token": None,
        "eos_token": "<|im_end|>",
        "pad_token": {"content": "<|endoftext|>", "special": True},
        "tokenizer_class": "Qwen2Tokenizer",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return backend


def test_a_file_like_gpt2s(tmp_path: Path) -> None:
    theirs = like_gpt2()
    theirs.save(str(tmp_path / "tokenizer.json"))
    ours = Tokenizer.load(tmp_path)
    theirs.no_truncation()
    for text in (*TEXTS, "  a\n\tb 龘"):
        assert ours.encode(text) == theirs.encode(text, add_special_tokens=False).ids
        assert ours.decode(ours.encode(text)) == text
    special = ours.special
    assert special.eos == theirs.token_to_id("<|endoftext|>") == 320
    assert sorted({special.pad, special.bos, *special[3:]}) == [321, 322, 323, 324, 325]
    assert ours.vocab_size == 326


def test_a_file_like_qwens(tmp_path: Path) -> None:
    theirs = like_qwen(tmp_path)
    theirs.save(str(tmp_path / "tokenizer.json"))
    ours = Tokenizer.load(tmp_path / "tokenizer.json")
    assert ours.special.eos == theirs.token_to_id("<|im_end|>")
    assert ours.special.pad == theirs.token_to_id("<|endoftext|>")
    assert len(set(ours.special)) == 6
    tool = theirs.token_to_id("<tool_call>")
    assert tool in ours.encode(
        "a<tool_call>b"
    )  # no special token there either: text as its file has it
    assert ours.decode(ours.encode("a<tool_call>b")) == "a<tool_call>b"
    assert ours.decode(ours.encode("cafe\u0301")) == "café"  # its file normalises, ours never does


@pytest.mark.parametrize("blank_first", [False, True])
def test_a_file_over_characters(tmp_path: Path, blank_first: bool) -> None:
    """As those of Gemma, and with a space in front those of Llama 2."""
    theirs = like_gemma(tmp_path, blank_first=blank_first)
    ours = Tokenizer.load(tmp_path)
    for text in (*TEXTS, "  a\n\tb 龘🙂", "<0x41> <bos>"):
        theirs.encode_special_tokens = True
        ids = theirs.encode(text, add_special_tokens=False).ids
        assert ours.encode(text) == ids
        assert ours.decode(ids) == " " * blank_first + text
        decoder = StreamDecoder(ours)
        assert "".join(map(decoder.push, ids)) == " " * blank_first + text
    assert ours.begins == (theirs.token_to_id("<bos>"),)
    assert ours.special.eos == theirs.token_to_id("<eos>")
    assert ours.layout is not None
    assert ours.layout.size == theirs.get_vocab_size()
    spelled = [b"".join(ours.token_bytes[i] for i in piece) for piece in ours.pieces("the 龘")]
    assert b"".join(spelled).decode() == " " * blank_first + "the 龘"


def test_what_a_text_begins_with(tmp_path: Path) -> None:
    """By the file, or by what its config says of it."""
    like_qwen(tmp_path).save(str(tmp_path / "tokenizer.json"))
    assert Tokenizer.load(tmp_path).begins == ()
    like_gemma(tmp_path)
    config = tmp_path / "tokenizer_config.json"
    config.write_text('{"bos_token": "<bos>", "add_bos_token": false}', encoding="utf-8")
    assert Tokenizer.load(tmp_path).begins == ()


def test_no_text_gives_a_special_token(tmp_path: Path) -> None:
    theirs = like_qwen(tmp_path)
    theirs.save(str(tmp_path / "tokenizer.json"))
    ours = Tokenizer.load(tmp_path)
    spellings = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<bos>", "<user>", "<assistant>"]
    special = {*ours.special, theirs.token_to_id("<|im_start|>")}
    for text in (*spellings, " ".join(spellings), "".join(spellings)):
        assert not set(ours.encode(text)) & special
        assert ours.decode(ours.encode(text)) == text
    assert ours.decode([*ours.special]) == ""
    twin = copy.deepcopy(ours)
    assert twin.special == ours.special
    assert twin.encode("".join(spellings)) == ours.encode("".join(spellings))


def test_a_conversation_in_an_imported_vocabulary(tmp_path: Path) -> None:
    like_gpt2().save(str(tmp_path / "tokenizer.json"))
    ours = Tokenizer.load(tmp_path)
    special, text = ours.special, ours.encode
    messages = [{"role": "user", "content": "晴"}, {"role": "assistant", "content": "雨"}]
    ids = [special.bos, special.user, *text("晴"), special.assistant, *text("雨"), special.eos]
    assert render(ours, messages).ids == ids
    decoder = StreamDecoder(ours)
    assert "".join(map(decoder.push, ids)) == "晴雨"


def test_it_is_saved_and_loaded_again(tmp_path: Path) -> None:
    for name in ("gpt2", "qwen"):
        first, second = tmp_path / name, tmp_path / f"{name}-again"
        first.mkdir()
        second.mkdir()
        made = like_gpt2() if name == "gpt2" else like_qwen(first)
        made.save(str(first / "tokenizer.json"))
        ours = Tokenizer.load(first)
        ours.save(second)
        again = Tokenizer.load(second)
        assert again.sha256 == ours.sha256
        assert again.special == ours.special


def test_merges_and_pieces_of_an_imported_file(tmp_path: Path) -> None:
    like_gpt2().save(str(tmp_path / "tokenizer.json"))
    ours = Tokenizer.load(tmp_path)
    assert len(ours.merges) == 320 - 256 == ours.describe()["merges"]
    texts = ours.token_bytes
    assert all(texts[a] + texts[b] == texts[into] for (a, b), into in ours.merges.items())
    assert [b"".join(texts[i] for i in p) for p in ours.pieces("the fox")] == [b"the", b" fox"]


def test_a_role_whose_name_is_taken_by_text_gets_another(tmp_path: Path) -> None:
    """In a vocabulary where '<user>' is a learned piece of text, it cannot also be special."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\S+|\s+"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    backend.train_from_iterator(
        ["<user> <user>"] * 9,
        BpeTrainer(vocab_size=270, initial_alphabet=ALPHABET, show_progress=False),
    )
    backend.save(str(tmp_path / "tokenizer.json"))
    ours = Tokenizer.load(tmp_path)
    assert ours.encode("<user>") == [backend.token_to_id("<user>")]
    assert ours.special.user != backend.token_to_id("<user>")
    config = tmp_path / "tokenizer_config.json"
    config.write_text('{"eos_token": "<user>"}', encoding="utf-8")
    with pytest.raises(DataError, match=r"tokenizer\.json: text can give its special token <user>"):
        Tokenizer.load(tmp_path)


def test_what_cannot_write_every_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.json"
    pieces = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    pieces.pre_tokenizer = pre_tokenizers.Whitespace()
    pieces.train_from_iterator(TEXTS, WordPieceTrainer(show_progress=False))
    pieces.save(str(file))
    with pytest.raises(
        DataError, match=r"tokenizer\.json: is a WordPiece: give a BPE that can write"
    ):
        Tokenizer.load(file)
    characters = tokenizers.Tokenizer(models.BPE())
    characters.pre_tokenizer = pre_tokenizers.Metaspace()
    characters.train_from_iterator(TEXTS, BpeTrainer(vocab_size=300, show_progress=False))
    characters.save(str(file))
    with pytest.raises(DataError, match=r"tokenizer\.json: is a BPE over characters"):
        Tokenizer.load(file)
    partial = tokenizers.Tokenizer(models.BPE())
    partial.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    partial.decoder = decoders.ByteLevel()
    partial.train_from_iterator(TEXTS, BpeTrainer(vocab_size=200, show_progress=False))
    partial.save(str(file))
    with pytest.raises(DataError, match=r"lacks \d+ of the 256 bytes \(such as 33\)"):
        Tokenizer.load(file)
    like_gemma(tmp_path)
    content = json.loads(file.read_text(encoding="utf-8"))
    del content["model"]["vocab"]["<0x7F>"]
    file.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DataError, match=r"lacks 1 of the 256 bytes \(such as 127\)"):
        Tokenizer.load(file)


def test_a_space_that_its_file_would_put_before_text_is_left_out(tmp_path: Path) -> None:
    theirs = like_gpt2()
    theirs.no_truncation()
    plain = {text: theirs.encode(text, add_special_tokens=False).ids for text in TEXTS}
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=True)
    for stages in (byte_level, pre_tokenizers.Sequence([pre_tokenizers.Digits(), byte_level])):
        theirs.pre_tokenizer = stages
        theirs.save(str(tmp_path / "tokenizer.json"))
        ours = Tokenizer.load(tmp_path)
        for text in ("hello", " hello", "龘 a", *TEXTS):
            assert ours.decode(ours.encode(text)) == text
        assert stages is not byte_level or all(ours.encode(t) == ids for t, ids in plain.items())


def test_an_entry_that_stands_for_no_bytes_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.json"
    like_gpt2().save(str(file))
    content = json.loads(file.read_text(encoding="utf-8"))
    content["model"]["vocab"]["你好"] = 320
    content["added_tokens"][0]["id"] = 321
    file.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DataError, match=r"tokenizer\.json: entry 320, '你好', stands for no bytes"):
        Tokenizer.load(file)
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "你好"}', encoding="utf-8")
    assert Tokenizer.load(file).special.eos == 320


def test_a_frame_of_unlisted_tokens_is_refused(tmp_path: Path) -> None:
    """The library would not raise but panic, with a trace of its own."""
    like_gemma(tmp_path)
    file = tmp_path / "tokenizer.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    frame = content["post_processor"] | {"special_tokens": {}}
    for stage in (frame, {"type": "Sequence", "processors": [frame]}):
        file.write_text(json.dumps(content | {"post_processor": stage}), encoding="utf-8")
        with pytest.raises(DataError, match=r"post_processor: '<bos>' is not among its special_"):
            Tokenizer.load(file)


def test_a_fault_that_spans_lines_is_told_in_one(tmp_path: Path) -> None:
    like_gpt2().save(str(tmp_path / "tokenizer.json"))
    content = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    (tmp_path / "tokenizer.json").write_text(json.dumps(content | {"version": "\n"}))
    with pytest.raises(DataError, match="not a tokenizer") as caught:
        Tokenizer.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_broken_config_is_named(tmp_path: Path) -> None:
    like_gpt2().save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"tokenizer_config\.json: not a tokenizer \(Expecting"):
        Tokenizer.load(tmp_path)
