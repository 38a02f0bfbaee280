"""Vocabularies as GGUF keys, there and back."""

import json
from pathlib import Path
from typing import Any

import pytest
import tokenizers

from jielong.core.errors import DataError
from jielong.tokenizer.bpe import Tokenizer
from jielong.tokenizer.byte_characters import CHARACTER_OF
from jielong.tokenizer.gguf import from_keys, to_keys
from jielong.tokenizer.special_tokens import SPELLINGS
from jielong.tokenizer.standard_files import MARK
from tests.tiny import TEXTS, tokenizer

Json = dict[str, Any]
GGML = "tokenizer.ggml."


def contents(vocabulary: Tokenizer, folder: Path) -> tuple[Json, Json]:
    vocabulary.save(folder)
    names = ("tokenizer.json", "tokenizer_config.json")
    content, config = (json.loads((folder / name).read_text(encoding="utf-8")) for name in names)
    return content, config


def loaded(content: Json, config: Json, folder: Path) -> Tokenizer:
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return Tokenizer.load(folder)


def byte_level(*words: str, pre: str = "gpt-2") -> Json:
    """Another maker's keys: the bytes, what a word's letters merge to, two control tokens."""
    tokens = list(CHARACTER_OF.values())
    merges = []
    for word in words:
        for end in range(2, len(word) + 1):
            merges.append(f"{word[: end - 1]} {word[end - 1]}")
            tokens.append(word[:end])
    kinds = [1] * len(tokens) + [3, 3, 4, 5]
    tokens += ["<|begin|>", "<|end|>", " so called ", "[PAD]"]
    return {
        f"{GGML}model": "gpt2",
        f"{GGML}pre": pre,
        f"{GGML}tokens": tokens,
        f"{GGML}token_type": kinds,
        f"{GGML}merges": merges,
        f"{GGML}bos_token_id": len(tokens) - 4,
        f"{GGML}eos_token_id": len(tokens) - 3,
        "tokenizer.chat_template": "{{ messages }}",
    }


def test_ours_comes_back_whole(tmp_path: Path) -> None:
    content, config = contents(tokenizer(), tmp_path)
    keys = to_keys(content, config, 300, "here")
    again = loaded(*from_keys(keys, "here"), tmp_path)
    assert again.sha256 == tokenizer().sha256
    assert again.special == tokenizer().special


def test_keys_of_ours(tmp_path: Path) -> None:
    """Special tokens carry the mark, so that no text can spell them; the template places them."""
    keys = to_keys(*contents(tokenizer(), tmp_path), 303, "here")
    tokens, kinds = keys[f"{GGML}tokens"], keys[f"{GGML}token_type"]
    assert tokens[:6] == [spelling + MARK for spelling in SPELLINGS]
    assert kinds == [3] * 6 + [1] * 294 + [5] * 3
    assert tokens[300:] == ["[PAD300]", "[PAD301]", "[PAD302]"]
    pieces = [tokenizer().token_bytes[i] for i in range(6, 300)]
    assert tokens[6:300] == ["".join(CHARACTER_OF[b] for b in piece) for piece in pieces]
    ids = {token: i for i, token in enumerate(tokens)}
    merges = [tuple(ids[part] for part in m.split(" ")) for m in keys[f"{GGML}merges"]]
    assert merges == [*tokenizer().merges]
    named = [keys[f"{GGML}{name}_token_id"] for name in ("bos", "eos", "padding")]
    assert (named, keys[f"{GGML}add_bos_token"]) == ([1, 2, 0], True)
    template = keys["tokenizer.chat_template"]
    assert f"<eos>{MARK}" in template
    assert "\\u" not in template


@pytest.mark.parametrize(("digits", "name"), [(1, "qwen2"), (2, "llama-bpe"), (3, "llama-bpe")])
def test_ours_is_cut_by_what_is_nearest(digits: Any, name: str, tmp_path: Path) -> None:
    vocabulary = Tokenizer.train(TEXTS, 300, digits=digits)
    assert to_keys(*contents(vocabulary, tmp_path), 300, "here")[f"{GGML}pre"] == name


@pytest.mark.parametrize("name", ["gpt-2", "llama-bpe", "qwen2", "smollm"])
def test_another_makers_comes_back(name: str, tmp_path: Path) -> None:
    keys = byte_level("the", "\u0120in", pre=name)
    content, config = from_keys(keys, "there")
    again = to_keys(content, config, len(keys[f"{GGML}tokens"]), "there")
    expected = keys | {f"{GGML}add_bos_token": name == "llama-bpe"}
    found = {key: again[key] for key in expected}
    expected[f"{GGML}tokens"][-1] = f"[PAD{len(keys[f'{GGML}tokens']) - 1}]"
    assert found == expected
    ids = {token: i for i, token in enumerate(keys[f"{GGML}tokens"])}
    backend = tokenizers.Tokenizer.from_str(json.dumps(content))
    assert backend.encode("the in").ids == [ids["the"], ids["\u0120in"]]
    assert backend.encode("<|end|>e").ids == [ids["<|end|>"], ids["e"]]
    assert backend.encode("e so called e").ids == [ids["e"], ids[" so called "], ids["e"]]


@pytest.mark.parametrize(
    ("name", "text", "pieces"),
    [
        ("gpt-2", "don't 2026\n\nx", ["don", "'t", " 2026", "\n", "\n", "x"]),
        ("llama-bpe", "DON'T 2026.\n\nx", ["DON", "'T", " ", "202", "6", ".\n\n", "x"]),
        ("qwen2", "(don't 20  x", ["(don", "'t", " ", "2", "0", " ", " x"]),
        ("smollm", "don't 20", ["don", "'t", " ", "2", "0"]),
    ],
)
def test_each_name_cuts_in_its_way(name: str, text: str, pieces: list[str]) -> None:
    """By pencil, from the rules that the makers published."""
    content, _ = from_keys(byte_level(pre=name), "there")
    backend = tokenizers.Tokenizer.from_str(json.dumps(content))
    found = [
        backend.decode([backend.token_to_id(c) for c in p])
        for p, _ in backend.pre_tokenizer.pre_tokenize_str(text)
    ]
    assert found == pieces


def sentencepiece(**changes: Any) -> Json:
    """Keys as of Llama 2: the bytes, single characters, and merges only by their scores."""
    pieces = ["\u2581", "a", "b", "c", "ab", "bc", "abc", "\u2581ab"]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *pieces]
    kinds = [2, 3, 3] + [6] * 256 + [1] * len(pieces)
    scores = [0.0] * 259 + [-9.0, -9.0, -9.0, -9.0, -2.0, -1.0, -3.0, -4.0]
    keys = {"model": "llama", "tokens": tokens, "token_type": kinds, "scores": scores}
    keys |= {"bos_token_id": 1, "eos_token_id": 2, "unknown_token_id": 0} | changes
    return {f"{GGML}{name}": value for name, value in keys.items()}


def test_sentencepiece_merges_the_best_scored_first() -> None:
    """bc (-1) before ab (-2): of abc only bc is made, then abc of a and bc."""
    keys = sentencepiece()
    content, config = from_keys(keys, "there")
    backend = tokenizers.Tokenizer.from_str(json.dumps(content))
    tokens = keys[f"{GGML}tokens"]
    shown = [tokens[i] for i in backend.encode("abc ab é").ids]
    assert shown == ["\u2581", "abc", "\u2581ab", "\u2581", "<0xC3>", "<0xA9>"]
    assert backend.decode(backend.encode("abc ab é").ids) == "abc ab é"
    assert config == {
        "add_bos_token": True,
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
    }


def test_sentencepiece_without_a_space_at_the_front() -> None:
    keys = sentencepiece(add_space_prefix=False)
    content, _ = from_keys(keys, "there")
    backend = tokenizers.Tokenizer.from_str(json.dumps(content))
    assert [keys[f"{GGML}tokens"][i] for i in backend.encode("abc ab").ids] == ["abc", "\u2581ab"]
    assert backend.decode(backend.encode(" ab").ids) == " ab"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({f"{GGML}tokens": None}, "holds no tokenizer"),
        ({f"{GGML}token_type": [1]}, "token_type does not belong to its 261 tokens"),
        ({f"{GGML}model": "t5"}, "tokenizer.ggml.model: 't5': only gpt2"),
        ({f"{GGML}pre": "falcon"}, "tokenizer.ggml.pre: 'falcon': only gpt-2"),
        ({f"{GGML}merges": None}, "merges is missing"),
        ({f"{GGML}eos_token_id": 261}, "eos_token_id: 261: the vocabulary has 261 entries"),
        ({"tokenizer.huggingface.json": "{"}, "tokenizer.huggingface.json: no JSON"),
        ({f"{GGML}model": "llama"}, "scores is missing"),
    ],
)
def test_keys_that_cannot_serve_are_refused(changes: Json, message: str) -> None:
    keys = byte_level("ab") | changes
    keys = {key: value for key, value in keys.items() if value is not None}
    with pytest.raises(DataError, match=rf"^there: .*{message}"):
        from_keys(keys, "there")


def test_a_vocabulary_that_llama_cpp_cannot_read_is_refused(tmp_path: Path) -> None:
    content, config = contents(tokenizer(), tmp_path)
    with pytest.raises(DataError, match=r"^here: has more entries than the model's 299"):
        to_keys(content, config, 299, "here")
    with pytest.raises(DataError, match=r"^here: only byte-level BPE with merges"):
        to_keys(content | {"model": content["model"] | {"merges": []}}, config, 300, "here")
    with pytest.raises(DataError, match=r"^here: only byte-level BPE"):
        to_keys(from_keys(sentencepiece(), "there")[0], {}, 300, "here")
    foreign, names = from_keys(byte_level("ab"), "there")
    foreign["pre_tokenizer"] = {"type": "Whitespace"}
    with pytest.raises(DataError, match=r"^here: its pre_tokenizer is none of those"):
        to_keys(foreign, names, 300, "here")
