"""A `tokenizer.json` that others made: other special tokens, and not at the front.

Its bos, eos and pad are looked up in `tokenizer_config.json`, else by their usual names; what it
lacks, the roles above all, is added at the end. It has to be byte-level BPE, as those of GPT-2,
GPT-4, Llama 3 and Qwen are: only then is every text written, and every token's text known.
"""

import json
from collections.abc import Mapping
from typing import Any

import tokenizers

from jielong.core.errors import DataError
from jielong.tokenizer.byte_characters import BYTE_OF
from jielong.tokenizer.chat_jinja import chat_jinja
from jielong.tokenizer.special_tokens import SpecialTokens
from jielong.tokenizer.standard_files import make_config

_USUAL_NAMES = {
    "pad": ("<pad>", "<|pad|>", "[PAD]", "<|padding|>"),
    "bos": ("<bos>", "<s>", "<|begin_of_text|>", "<|startoftext|>", "[BOS]"),
    "eos": ("<eos>", "</s>", "<|end_of_text|>", "<|im_end|>", "<|endoftext|>", "[EOS]"),
    "system": ("<system>", "<|system|>"),
    "user": ("<user>", "<|user|>"),
    "assistant": ("<assistant>", "<|assistant|>"),
}


def adopt(
    content: dict[str, Any], config: Mapping[str, Any], where: str
) -> tuple[tokenizers.Tokenizer, SpecialTokens]:
    """The backend of such a file and the ids of its special tokens.

    `content` is the file's JSON, `config` what stands in the `tokenizer_config.json` beside it.
    Raises `DataError`, beginning with `where`, for what cannot serve.
    """
    _check(content, where)
    # What is added around a text, or cut from it, is the business of who encodes it.
    content = content | {"truncation": None, "padding": None, "post_processor": None}
    content["pre_tokenizer"] = _without_prefix_space(content["pre_tokenizer"])
    try:
        backend = tokenizers.Tokenizer.from_str(json.dumps(content))
    except Exception as error:  # noqa: BLE001 - the library raises bare Exception
        raise DataError(f"{where}: not a tokenizer ({error}): make it anew") from None
    backend.encode_special_tokens = True
    ids = {}
    for name, spelling in _choose(backend, config).items():
        backend.add_special_tokens([tokenizers.AddedToken(spelling, special=True)])
        ids[name] = _id(backend, spelling)
        _check_unreachable(backend, content["model"], spelling, where)
    _check_bytes(backend, where)
    return backend, SpecialTokens(**ids)


def token_texts(backend: tokenizers.Tokenizer) -> dict[int, bytes]:
    """The bytes of each id; special tokens have none."""
    added = backend.get_added_tokens_decoder()
    texts = {
        token: b"" if known.special else known.content.encode() for token, known in added.items()
    }
    for piece, token in backend.get_vocab(with_added_tokens=False).items():
        if token not in texts:
            texts[token] = bytes(BYTE_OF[character] for character in piece)
    return texts


def config_of(backend: tokenizers.Tokenizer, special: SpecialTokens) -> dict[str, Any]:
    """What `tokenizer_config.json` shall hold beside the file of an adopted tokenizer.

    In that file a special token's spelling is the token, as its makers meant it, so the template
    turns away a message that holds one.
    """
    spellings = {name: _spelling(backend, i) for name, i in special._asdict().items()}
    added = backend.get_added_tokens_decoder().values()
    refused = sorted(token.content for token in added if token.special)
    return make_config(spellings, chat_jinja(spellings, "", refused))


def _check(content: dict[str, Any], where: str) -> None:
    """Refuse what is no byte-level BPE, saying what it is."""
    model = content.get("model") or {}
    cutting, decoding = (json.dumps(content.get(key)) for key in ("pre_tokenizer", "decoder"))
    kind = model.get("type", "BPE" if "merges" in model else "model of no known kind")
    if kind != "BPE" or '"ByteLevel"' not in cutting or '"ByteLevel"' not in decoding:
        kind = "BPE over characters" if kind == "BPE" else kind
        raise DataError(
            f"{where}: is a {kind}: give a byte-level BPE one, which can write every text "
            "(those of GPT-2, GPT-4, Llama 3 and Qwen are)"
        )
    known = set(model["vocab"])
    missing = [byte for character, byte in BYTE_OF.items() if character not in known]
    if missing:
        raise DataError(
            f"{where}: lacks {len(missing)} of the 256 bytes (such as {missing[0]}), so it cannot "
            "write every text: give another"
        )


def _without_prefix_space(stage: Any) -> Any:  # noqa: ANN401 - any JSON value
    """The same stages, none of which puts a space before a text that has none."""
    if isinstance(stage, list):
        return [_without_prefix_space(each) for each in stage]
    if not isinstance(stage, dict):
        return stage
    stage = {key: _without_prefix_space(value) for key, value in stage.items()}
    return stage | {"add_prefix_space": False} if "add_prefix_space" in stage else stage


def _check_bytes(backend: tokenizers.Tokenizer, where: str) -> None:
    """Refuse a vocabulary with an entry that no bytes are known of."""
    added = backend.get_added_tokens_decoder()
    for piece, token in backend.get_vocab(with_added_tokens=False).items():
        if token not in added and not BYTE_OF.keys() >= set(piece):
            raise DataError(
                f"{where}: entry {token}, {piece!r}, stands for no bytes: give another, or list "
                "it under added_tokens"
            )


def _choose(backend: tokenizers.Tokenizer, config: Mapping[str, Any]) -> dict[str, str]:
    """How each special token is spelled; no two are the same, except bos and eos."""
    added = {token.content for token in backend.get_added_tokens_decoder().values()}
    chosen: dict[str, str] = {}
    for name in ("eos", "bos", "pad", "system", "user", "assistant"):
        named = config.get(f"{name}_token")
        if isinstance(named, Mapping):
            named = named.get("content")
        taken = {s for other, s in chosen.items() if (name, other) != ("bos", "eos")}
        usual = [s for s in _USUAL_NAMES[name] if s in added]
        candidates = [named] if isinstance(named, str) and named else usual
        free = [spelling for spelling in candidates if spelling not in taken]
        chosen[name] = free[0] if free else _new(backend, f"<{name}>")
    return chosen


def _new(backend: tokenizers.Tokenizer, spelling: str) -> str:
    """A spelling that no entry of the vocabulary has."""
    while backend.token_to_id(spelling) is not None:
        spelling = f"<{spelling}>"
    return spelling


def _check_unreachable(
    backend: tokenizers.Tokenizer, model: dict[str, Any], spelling: str, where: str
) -> None:
    """Refuse a special token that the merges could make from a user's text."""
    in_model = spelling in model["vocab"]
    merges = (m.replace(" ", "", 1) if isinstance(m, str) else "".join(m) for m in model["merges"])
    if in_model and (model.get("ignore_merges") or len(spelling) == 1 or spelling in set(merges)):
        raise DataError(
            f"{where}: text can give its special token {spelling}: name another in "
            "tokenizer_config.json"
        )
    assert _id(backend, spelling) not in backend.encode(spelling, add_special_tokens=False).ids


def _id(backend: tokenizers.Tokenizer, spelling: str) -> int:
    token = backend.token_to_id(spelling)
    assert token is not None, spelling
    return token


def _spelling(backend: tokenizers.Tokenizer, token: int) -> str:
    spelling = backend.id_to_token(token)
    assert spelling is not None, token
    return spelling
