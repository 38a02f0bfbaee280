"""`tokenizer.json` and `tokenizer_config.json` as `transformers.AutoTokenizer` reads them.

There one function turns both a user's text and a rendered conversation into ids, so something has
to tell a special token from its spelling. Here it is a mark: `<eos>` followed by U+FDD0 is the
token, `<eos>` alone is five characters. U+FDD0 is a noncharacter, which Unicode keeps for a
program's inner use and out of all exchanged text. `Tokenizer` itself knows no mark: it places
special tokens by id, and no text whatever gives one.

In `tokenizer.json` the mark works without any setting that a reader of the file could miss. Cutting
into pieces leaves a marked spelling whole, drops its mark, and `ignore_merges` looks the piece up
as it stands. (For all other pieces that changes nothing: every learned token, alone, is what the
merges make of its own text.)
"""

import json
from typing import Any

from jielong.tokenizer.chat_jinja import chat_jinja
from jielong.tokenizer.special_tokens import SPELLINGS, SpecialTokens

CONFIG = "tokenizer_config.json"
TEMPLATE = "chat_template.jinja"
MARK = "\ufdd0"
_NAMES = "|".join(SPELLINGS)
_MARKED = f"(?:{_NAMES}){MARK}"
_MARK_OF_A_TOKEN = f"(?<={_NAMES}){MARK}"


def with_marks(plain: dict[str, Any]) -> dict[str, Any]:
    """What `tokenizer.json` shall hold, given the JSON of our own backend."""
    cut, byte_level = plain["pre_tokenizer"]["pretokenizers"]
    pattern = cut["pattern"]["Regex"]
    stages = [
        # First of all, so that no white space or punctuation around a token joins it.
        _split(_MARKED, "Isolated"),
        _split(f"{_MARKED}|{pattern}", "Isolated"),
        _split(_MARK_OF_A_TOKEN, "Removed"),
        byte_level,
    ]
    return plain | {
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": stages},
        "model": plain["model"] | {"ignore_merges": True},
    }


def without_marks(content: dict[str, Any]) -> dict[str, Any] | None:
    """The JSON of our own backend, given what a file holds; None when the file is not one of ours.

    Ours are also files written before there were marks, and those that `transformers` saved again.
    """
    if [_ids(content).get(spelling) for spelling in SPELLINGS] != [*SpecialTokens()]:
        return None
    stages = (content.get("pre_tokenizer") or {}).get("pretokenizers") or []
    if len(stages) == 4 and stages[0] == _split(_MARKED, "Isolated"):
        pattern = stages[1]["pattern"]["Regex"].removeprefix(f"{_MARKED}|")
        stages = [_split(pattern, "Isolated"), stages[3]]
    kinds = [stage["type"] for stage in stages]
    others = [t for t in content.get("added_tokens", []) if t["content"] not in SPELLINGS]
    if kinds != ["Split", "ByteLevel"] or others or content.get("normalizer"):
        return None
    return content | {
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": stages},
        "post_processor": None,
        "model": content["model"] | {"ignore_merges": False},
    }


def config_of_ours() -> dict[str, Any]:
    """What `tokenizer_config.json` shall hold beside a file of `with_marks`."""
    spellings = dict(zip(SpecialTokens._fields, SPELLINGS, strict=True))
    template = chat_jinja(spellings, MARK, [spelling + MARK for spelling in SPELLINGS])
    flags = dict.fromkeys(("lstrip", "normalized", "rstrip", "single_word"), False)
    listed = {
        str(token): {"content": spelling, "special": True, **flags}
        for token, spelling in enumerate(SPELLINGS)
    }
    # A spelling without its mark is text, for `transformers` too.
    safe = {"split_special_tokens": True, "added_tokens_decoder": listed}
    return make_config(spellings, template) | safe


def puts_first(spelling: str, token: int) -> dict[str, Any]:
    """The part of `tokenizer.json` by which readers put a token before each text."""

    def text(name: str, number: int) -> list[dict[str, Any]]:
        place = {"type_id": number}
        return [{"SpecialToken": {"id": spelling} | place}, {"Sequence": {"id": name} | place}]

    return {
        "type": "TemplateProcessing",
        "single": text("A", 0),
        "pair": text("A", 0) + text("B", 1),
        "special_tokens": {spelling: {"id": spelling, "ids": [token], "tokens": [spelling]}},
    }


def make_config(spellings: dict[str, str], template: str) -> dict[str, Any]:
    """The names of the special tokens and the chat template, for `transformers`."""
    roles = [spellings[name] for name in ("system", "user", "assistant")]
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **{f"{name}_token": spellings[name] for name in ("bos", "eos", "pad")},
        "additional_special_tokens": roles,
        "clean_up_tokenization_spaces": False,
        "chat_template": template,
    }


def to_text(value: dict[str, Any]) -> str:
    """JSON for people and programs: indented, keys in their given order."""
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"


def _split(regex: str, behavior: str) -> dict[str, Any]:
    pattern = {"Regex": regex}
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": False}


def _ids(content: dict[str, Any]) -> dict[str, int]:
    vocabulary = content["model"]["vocab"]
    return vocabulary if isinstance(vocabulary, dict) else {}
