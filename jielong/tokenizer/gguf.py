"""Vocabularies as GGUF files keep them: keys with lists, in place of a `tokenizer.json`.

There a way of cutting text before merging is one of llama.cpp's list of names. Ours is not in it,
so what we write names the nearest, which now and then cuts otherwise (docs/en/gguf.md says how
often); programs that read the `tokenizer.json`, which our files hold too, are exact. What others
write is turned into a `tokenizer.json`, for the names below and for SentencePiece.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from jielong.core.errors import DataError
from jielong.tokenizer import standard_files
from jielong.tokenizer.special_tokens import SPELLINGS, SpecialTokens

_NORMAL, _UNKNOWN, _CONTROL, _USER, _UNUSED = 1, 2, 3, 4, 5
_WHOLE_FILE = "tokenizer.huggingface.json"
_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}


def _words(digits: str) -> dict[str, Any]:
    """Words with what stands before them, `digits`, punctuation, line ends, white space."""
    cut = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
        + digits
        + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    split = {"type": "Split", "pattern": {"Regex": cut}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [split, _BYTES | {"use_regex": False}]}


_GPT2 = _BYTES | {"use_regex": True}
_ONE_DIGIT = {"type": "Digits", "individual_digits": True}
_CUTTING = {
    "gpt-2": _GPT2,
    "llama-bpe": _words(r"\p{N}{1,3}"),
    "qwen2": _words(r"\p{N}"),
    "smollm": {"type": "Sequence", "pretokenizers": [_ONE_DIGIT, _GPT2]},
}
_OTHER_NAMES = {
    "llama3": "llama-bpe",
    "llama-v3": "llama-bpe",
    "deepseek-r1-qwen": "qwen2",
}
# How many digits our pieces have at most, and what cuts most like that.
_NEAREST = {"1": "qwen2", "2": "llama-bpe", "3": "llama-bpe"}


def to_keys(
    content: Mapping[str, Any], config: Mapping[str, Any], size: int, where: str
) -> dict[str, Any]:
    """The keys for a `tokenizer.json` and the `tokenizer_config.json` beside it.

    `size` is how many entries the model has; those that the tokenizer lacks become unused ones.
    Raises `DataError`, beginning with `where`, for what llama.cpp cannot read.
    """
    model = content["model"]
    if "ByteLevel" not in json.dumps(content.get("decoder")) or not model["merges"]:
        raise DataError(
            f"{where}: only byte-level BPE with merges can be written into a GGUF file: export as "
            "a Hugging Face folder (--format hf)"
        )
    ours = standard_files.without_marks(dict(content))
    tokens = [f"[PAD{token}]" for token in range(size)]
    kinds = [_UNUSED] * size
    entries = [(token, text, _NORMAL) for text, token in model["vocab"].items()]
    for added in content.get("added_tokens", []):
        entries.append((added["id"], added["content"], _CONTROL if added["special"] else _USER))
    if ours is not None:
        # llama.cpp finds special tokens by their spelling in what a chat template writes. Ours
        # carries a mark there, so what a user types is text here too.
        names = zip(SpecialTokens(), SPELLINGS, strict=True)
        entries += [(token, text + standard_files.MARK, _CONTROL) for token, text in names]
    for token, text, kind in entries:
        if token >= size:
            raise DataError(f"{where}: has more entries than the model's {size}: give its own")
        tokens[token], kinds[token] = text, kind
    keys = {
        "model": "gpt2",
        "pre": _name_of(ours, content, where),
        "tokens": tokens,
        "token_type": kinds,
        "merges": [m if isinstance(m, str) else " ".join(m) for m in model["merges"]],
        "add_bos_token": config.get("add_bos_token", ours is not None),
        "add_eos_token": False,
    }
    ids = {text: token for token, text, _ in entries}
    for name, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding")):
        spelling = config.get(f"{name}_token")
        spelling = spelling["content"] if isinstance(spelling, Mapping) else spelling
        if spelling is not None:
            keys[f"{key}_token_id"] = ids[spelling]
    written = {f"tokenizer.ggml.{key}": value for key, value in keys.items()}
    if config.get("chat_template"):
        # llama.cpp's Jinja knows no \u in a text: the mark stands there as itself.
        spelled_out = f"\\u{ord(standard_files.MARK):04x}"
        template = config["chat_template"].replace(spelled_out, standard_files.MARK)
        written["tokenizer.chat_template"] = template
    return written | {_WHOLE_FILE: json.dumps(content, ensure_ascii=False)}


def from_keys(keys: Mapping[str, Any], where: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The `tokenizer.json` and `tokenizer_config.json` of a file's keys.

    Raises `DataError`, beginning with `where`, when they cannot serve.
    """
    tokens, kinds = _lists(keys, where)
    kind = keys.get("tokenizer.ggml.model")
    if _WHOLE_FILE in keys:
        content = _parse(keys[_WHOLE_FILE], where)
    elif kind == "gpt2":
        content = _over_bytes(keys, tokens, kinds, where)
    elif kind == "llama":
        content = _over_characters(keys, tokens, kinds, where)
    else:
        raise DataError(
            f"{where}: tokenizer.ggml.model: {kind!r}: only gpt2 (byte-level BPE) and llama "
            "(SentencePiece) can be read"
        )
    before = kind == "llama" or _cutting_name(keys) == "llama-bpe"
    config: dict[str, Any] = {"add_bos_token": keys.get("tokenizer.ggml.add_bos_token", before)}
    for name, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding"), ("unk", "unknown")):
        token = keys.get(f"tokenizer.ggml.{key}_token_id")
        if token is None:
            continue
        if type(token) is not int or not 0 <= token < len(tokens):
            raise DataError(
                f"{where}: tokenizer.ggml.{key}_token_id: {token!r}: the vocabulary has "
                f"{len(tokens)} entries"
            )
        # An ordinary token may end a text too; as a special one it would have no text any more.
        if name != "eos" or kinds[token] != _NORMAL or "tokenizer.ggml.token_type" not in keys:
            config[f"{name}_token"] = tokens[token]
    if isinstance(keys.get("tokenizer.chat_template"), str):
        config["chat_template"] = keys["tokenizer.chat_template"]
    return content, config


def _name_of(ours: Mapping[str, Any] | None, content: Mapping[str, Any], where: str) -> str:
    """What llama.cpp calls this way of cutting; of ours, what is nearest."""
    if ours is not None:
        digits = re.search(
            r"\\p\{N\}\{1,([123])\}", json.dumps(ours["pre_tokenizer"]).replace("\\\\", "\\")
        )
        return _NEAREST[digits[1] if digits else "2"]
    cuts = content.get("pre_tokenizer")
    for name, cutting in _CUTTING.items():
        if _bare(cuts) == _bare(cutting):
            return name
    raise DataError(
        f"{where}: its pre_tokenizer is none of those that can be named in a GGUF file "
        f"({', '.join(_CUTTING)}): export as a Hugging Face folder (--format hf)"
    )


def _bare(cutting: Any) -> str:  # noqa: ANN401 - any JSON value
    """A way of cutting without what makes no difference to the pieces."""
    return re.sub(r'"trim_offsets": (true|false), ?', "", json.dumps(cutting, sort_keys=True))


def _cutting_name(keys: Mapping[str, Any]) -> str:
    name = str(keys.get("tokenizer.ggml.pre", "default"))
    return _OTHER_NAMES.get(name, name)


def _lists(keys: Mapping[str, Any], where: str) -> tuple[list[str], list[int]]:
    tokens = keys.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise DataError(f"{where}: holds no tokenizer (tokenizer.ggml.tokens is no list of texts)")
    kinds = keys.get("tokenizer.ggml.token_type", [_NORMAL] * len(tokens))
    if not isinstance(kinds, list) or len(kinds) != len(tokens):
        raise DataError(
            f"{where}: tokenizer.ggml.token_type does not belong to its {len(tokens)} tokens: "
            "convert the model anew"
        )
    return tokens, kinds


def _parse(text: object, where: str) -> dict[str, Any]:
    try:
        content = json.loads(str(text))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: {_WHOLE_FILE}: no JSON ({error})") from None
    if not isinstance(content, dict):
        raise DataError(f"{where}: {_WHOLE_FILE}: holds no table")
    return content


def _over_bytes(
    keys: Mapping[str, Any], tokens: list[str], kinds: list[int], where: str
) -> dict[str, Any]:
    name = _cutting_name(keys)
    if name not in _CUTTING:
        raise DataError(
            f"{where}: tokenizer.ggml.pre: {name!r}: only {', '.join(_CUTTING)} can be read"
        )
    merges = keys.get("tokenizer.ggml.merges")
    if not isinstance(merges, list):
        raise DataError(f"{where}: tokenizer.ggml.merges is missing: convert the model anew")
    # Qwen's own tokenizer composes characters first; no key says so.
    composed = {"type": "NFC"} if name == "qwen2" else None
    return _content(
        tokens,
        kinds,
        normalizer=composed,
        pre_tokenizer=_CUTTING[name],
        decoder=_BYTES | {"add_prefix_space": True, "use_regex": True},
        model={"ignore_merges": name == "llama-bpe", "merges": merges, "byte_fallback": False},
    )


def _over_characters(
    keys: Mapping[str, Any], tokens: list[str], kinds: list[int], where: str
) -> dict[str, Any]:
    """SentencePiece keeps scores, not merges: the best-scored piece is merged first."""
    scores = keys.get("tokenizer.ggml.scores")
    if not isinstance(scores, list) or len(scores) != len(tokens):
        raise DataError(f"{where}: tokenizer.ggml.scores is missing: convert the model anew")
    ids = {token: i for i, token in enumerate(tokens) if kinds[i] == _NORMAL}
    pairs = [
        (-scores[token], token, ids[piece[:cut]], ids[piece[cut:]])
        for piece, token in ids.items()
        for cut in range(1, len(piece))
        if piece[:cut] in ids and piece[cut:] in ids
    ]
    merges = [[tokens[left], tokens[right]] for _, _, left, right in sorted(pairs)]
    blank, begin = {"String": " "}, keys.get("tokenizer.ggml.add_space_prefix", True)
    steps: list[dict[str, Any]] = [{"type": "Replace", "pattern": blank, "content": "\u2581"}]
    back: list[dict[str, Any]] = [
        {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if begin:
        steps.insert(0, {"type": "Prepend", "prepend": "\u2581"})
        back.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return _content(
        tokens,
        kinds,
        normalizer={"type": "Sequence", "normalizers": steps},
        pre_tokenizer=None,
        decoder={"type": "Sequence", "decoders": back},
        model={"ignore_merges": False, "merges": merges, "byte_fallback": True, "fuse_unk": True},
    )


def _content(tokens: list[str], kinds: list[int], **parts: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON values
    added = [
        {
            "id": token,
            "content": text,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": kind != _USER,
        }
        for token, (text, kind) in enumerate(zip(tokens, kinds, strict=True))
        if kind in (_UNKNOWN, _CONTROL, _USER)
    ]
    apart = {_UNKNOWN, _CONTROL, _USER, _UNUSED}
    vocabulary = {
        text: token
        for token, (text, kind) in enumerate(zip(tokens, kinds, strict=True))
        if kind not in apart or (kind != _UNUSED and parts["model"]["byte_fallback"])
    }
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None}
    model |= {"end_of_word_suffix": None, "fuse_unk": False, "vocab": vocabulary}
    head = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added}
    return head | {"post_processor": None} | parts | {"model": model | parts["model"]}
