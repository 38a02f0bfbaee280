"""THUOCL: words of nine fields, the commonest first."""

import json

from jielong.data.clean import is_han, normalise

CLASSES = {
    "成语": "成语",
    "动物": "动物",
    "食物": "食物",
    "医药": "医学",
    "法律": "法律",
    "财经": "财经",
    "IT": "计算机",
    "地名": "地名",
    "历史人名": "人名",
}
"""THUOCL's name of each field, and the plain word for it that tasks use."""

IDIOMS = CLASSES["成语"]
PLACES = CLASSES["地名"]
NAMES = frozenset((PLACES, CLASSES["历史人名"]))

_LONGEST = 6


def parse(data: bytes) -> dict[str, list[str]]:
    """The words of each class in THUOCL's order: two to six Han characters, each once."""
    listed: dict[str, list[str]] = json.loads(data)
    return {
        CLASSES[name]: list(dict.fromkeys(filter(_is_word, map(normalise, found))))
        for name, found in listed.items()
    }


def _is_word(text: str) -> bool:
    return 2 <= len(text) <= _LONGEST and is_han(text)
