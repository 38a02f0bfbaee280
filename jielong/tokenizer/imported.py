"""A `tokenizer.json` that others made: other special tokens, and not at the front.

Its bos, eos and pad are looked up in `tokenizer_config.json`, else by their usual names; what it
lacks, the roles above all, is added at the end. It has to be BPE that can write every text, and
whose tokens' texts are known: over bytes, as those of GPT-2, GPT-4, Llama 3 and Qwen, or over
characters with bytes for the others, as those of Llama 2 and Gemma.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
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
# A byte as a token of its own, and what stands for a space, in vocabularies over characters.
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_BLANK = "\u2581"


@dataclass(frozen=True)
class Layout:
    """What a file's makers want around texts.

    A text begins with the ids `begins`. `control` are their own special tokens, by spelling;
    `template` is their chat template, in Jinja, if they have one. The file has `size` entries.
    """

    begins: tuple[int, ...]
    control: Mapping[str, int]
    template: str | None
    size: int


def adopt(
    content: dict[str, Any], config: Mapping[str, Any], where: str
) -> tuple[tokenizers.Tokenizer, SpecialTokens, Layout]:
    """The backend of such a file, the ids of its special tokens, and how it lays out texts.

    `content` is the file's JSON, `config` what stands in the `tokenizer_config.json` beside it.
    Raises `DataError`, beginning with `where`, for what cannot serve.
    """
    _check(content, where)
    _check_frame(content.get("post_processor"), where)
    # What is added around a text, or cut from it, is the business of who encodes it.
    content = content | {"truncation": None, "padding": None}
    content["pre_tokenizer"] = _without_prefix_space(content.get("pre_tokenizer"))
    try:
        backend = tokenizers.Tokenizer.from_str(json.dumps(content))
        begins = _begins(backend)
        content = content | {"post_processor": None}
        backend = tokenizers.Tokenizer.from_str(json.dumps(content))
    except Exception as error:  # noqa: BLE001 - the library raises bare Exception
        reason = " ".join(str(error).split())
        raise DataError(f"{where}: not a tokenizer ({reason}): make it anew") from None
    backend.encode_special_tokens = True
    added = backend.get_added_tokens_decoder()
    control = {token.content: i for i, token in added.items() if token.special}
    size = max(backend.get_vocab().values()) + 1
    ids = {}
    for name, spelling in _choose(backend, config).items():
        backend.add_special_tokens([tokenizers.AddedToken(spelling, special=True)])
        ids[name] = _id(backend, spelling)
        _check_unreachable(backend, content["model"], spelling, where)
    if not _is_over_characters(content["model"]["vocab"]):
        _check_bytes(backend, where)
    special = SpecialTokens(**ids)
    if isinstance(config.get("add_bos_token"), bool):
        # One that was added here, at the end, its model was never taught.
        begins = (special.bos,) if config["add_bos_token"] and special.bos < size else ()
    return backend, special, Layout(begins, control, _template(backend, special, config), size)


def token_texts(backend: tokenizers.Tokenizer) -> dict[int, bytes]:
    """The bytes of each id; special tokens have none."""
    added = backend.get_added_tokens_decoder()
    texts = {
        token: b"" if known.special else known.content.encode() for token, known in added.items()
    }
    vocabulary = backend.get_vocab(with_added_tokens=False)
    text_of = _text_over_characters if _is_over_characters(vocabulary) else _text_over_bytes
    for piece, token in vocabulary.items():
        if token not in texts:
            texts[token] = text_of(piece)
    return texts


def ids_of_bytes(backend: tokenizers.Tokenizer, piece: str) -> list[int]:
    """A piece that a text was cut into, as the ids that merging begins with."""
    vocabulary = backend.get_vocab(with_added_tokens=False)
    ids: list[int] = []
    for character in piece:
        known = vocabulary.get(character)
        spelled = [f"<0x{byte:02X}>" for byte in character.encode()]
        ids += [known] if known is not None else [vocabulary[byte] for byte in spelled]
    return ids


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
    """Refuse what cannot write every text, saying what it is."""
    model = content.get("model") or {}
    cutting, decoding = (json.dumps(content.get(key)) for key in ("pre_tokenizer", "decoder"))
    kind = model.get("type", "BPE" if "merges" in model else "model of no known kind")
    falls_back = bool(model.get("byte_fallback"))
    over_bytes = '"ByteLevel"' in cutting and '"ByteLevel"' in decoding
    if kind != "BPE" or not (over_bytes or falls_back):
        kind = "BPE over characters" if kind == "BPE" else kind
        raise DataError(
            f"{where}: is a {kind}: give a BPE that can write every text, over bytes (as those of "
            "GPT-2, GPT-4, Llama 3 and Qwen are) or with byte_fallback (Llama 2, Gemma)"
        )
    alphabet = BYTE_OF.items() if over_bytes else ((f"<0x{byte:02X}>", byte) for byte in range(256))
    missing = [byte for spelling, byte in alphabet if spelling not in model["vocab"]]
    if missing:
        raise DataError(
            f"{where}: lacks {len(missing)} of the 256 bytes (such as {missing[0]}), so it cannot "
            "write every text: give another"
        )


def _check_frame(stage: Any, where: str) -> None:  # noqa: ANN401 - any JSON value
    """Refuse what puts an unlisted token around a text: the library would panic, not raise."""
    if not isinstance(stage, Mapping):
        return
    for each in stage.get("processors") or ():
        _check_frame(each, where)
    if stage.get("type") != "TemplateProcessing":
        return
    listed = stage.get("special_tokens")
    for piece in [*(stage.get("single") or ()), *(stage.get("pair") or ())]:
        used = piece.get("SpecialToken") if isinstance(piece, Mapping) else None
        if isinstance(used, Mapping) and used.get("id") not in (listed or ()):
            raise DataError(
                f"{where}: post_processor: {used.get('id')!r} is not among its special_tokens: "
                "make the file anew"
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


def _is_over_characters(vocabulary: Mapping[str, int]) -> bool:
    return "<0x00>" in vocabulary and "<0xFF>" in vocabulary


def _text_over_bytes(piece: str) -> bytes:
    return bytes(BYTE_OF[character] for character in piece)


def _text_over_characters(piece: str) -> bytes:
    byte = _BYTE.fullmatch(piece)
    return bytes([int(byte[1], 16)]) if byte else piece.replace(_BLANK, " ").encode()


def _begins(backend: tokenizers.Tokenizer) -> tuple[int, ...]:
    """The special tokens that the file puts before a text."""
    found = backend.encode("a")
    marks = found.special_tokens_mask
    return tuple(found.ids[: marks.index(0)] if 0 in marks else ())


def _template(
    backend: tokenizers.Tokenizer, special: SpecialTokens, config: Mapping[str, Any]
) -> str | None:
    """The makers' chat template; None where there is none, or it is what ours would be."""
    template = config.get("chat_template")
    if isinstance(template, list):  # several, by name
        named = [entry for entry in template if isinstance(entry, Mapping)]
        texts = {entry.get("name"): entry.get("template") for entry in named}
        template = texts.get("default")
    if not isinstance(template, str) or template == config_of(backend, special)["chat_template"]:
        return None
    return template


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
