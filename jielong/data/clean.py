"""One spelling for what is one text: line ends, spaces, widths, composed characters.

NFKC would be wrong for Chinese: it turns `，` into a comma, `…` into dots and `①` into 1. So: NFC,
and a table that folds only what is a coding accident. The result is a fixed point of `normalise`.
"""

import re
import unicodedata


def _codes(*ranges: tuple[int, int]) -> list[int]:
    return [code for first, last in ranges for code in range(first, last + 1)]


_FULL_WIDTH = _codes((0xFF10, 0xFF19), (0xFF21, 0xFF3A), (0xFF41, 0xFF5A))
_KANGXI_RADICALS = _codes((0x2E80, 0x2FD5))
_LIGATURES = _codes((0xFB00, 0xFB06))
_CONTROLS = _codes((0x00, 0x08), (0x0E, 0x1F), (0x7F, 0x84), (0x86, 0x9F))
_INVISIBLE = [0xAD, 0x61C, 0xFEFF, *_codes((0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F))]
_SURROGATES = _codes((0xD800, 0xDFFF))  # half a character, which no UTF-8 can hold
_LINE_ENDS = [0x0B, 0x0C, 0x85, 0x2028, 0x2029]
_SPACES = [0xA0, 0x202F, 0x205F, 0x3000, *_codes((0x2000, 0x200A))]

_FOLDED: dict[int, str | None] = {
    **{code: chr(code - 0xFEE0) for code in _FULL_WIDTH},
    **{code: unicodedata.normalize("NFKC", chr(code)) for code in _KANGXI_RADICALS + _LIGATURES},
    **dict.fromkeys(_LINE_ENDS, "\n"),
    **dict.fromkeys(_SPACES, " "),
    **dict.fromkeys(_CONTROLS + _INVISIBLE + _SURROGATES),
}
_BETWEEN_DIGITS = {"．": ".", "：": ":", "／": "/", "％": "%", "－": "-", "＋": "+"}
_PUNCTUATION_IN_NUMBERS = re.compile(r"(?<=[0-9])[．：／％－＋](?=[0-9])")
_UNIT = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff]|[A-Za-z\u00c0-\u024f0-9]+")
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff]")


def normalise(text: str) -> str:
    """`text` with coding accidents folded; punctuation and everything meant to be seen stays."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").translate(_FOLDED)
    text = unicodedata.normalize("NFC", text)
    text = _PUNCTUATION_IN_NUMBERS.sub(lambda found: _BETWEEN_DIGITS[found[0]], text)
    text = re.sub(r"[ \t]+\n", "\n", text)
    return re.sub(r"\n{4,}", "\n\n\n", text).strip("\n").rstrip()


def units(text: str) -> list[str]:
    """What is counted instead of words: each Han character, each run of Latin letters or digits."""
    return _UNIT.findall(text)


def han_share(text: str) -> float:
    """The share of Han characters among the letters of `text` (0 when it has none)."""
    letters = sum(map(str.isalpha, text))
    return len(_HAN.findall(text)) / letters if letters else 0.0


def is_han(text: str) -> bool:
    """Whether `text` is made of Han characters only."""
    return bool(text) and all(map(_HAN.fullmatch, text))
