"""Text that was decoded in the wrong encoding, turned back line by line where that is certain.

Three accidents are common with Chinese: UTF-8 read as GB18030 (`浣犲ソ`), UTF-8 read as Latin-1
(`ä½ å¥½`), GB18030 read as Latin-1 (`ÄãºÃ`). They are undone by encoding the line back and decoding
it right: that has to succeed strictly, and what it says has to be common Chinese where it was not
before. Accidents between Western encodings, of which no common Chinese comes, are left to ftfy
without those of its rules that turn Chinese punctuation and quotes into ASCII. What lost bytes on
the way cannot be restored: a line that is in pieces is dropped. One sign of a lost character costs
no line, and neither does a mention of such a sign.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from jielong.data.encoding import common_share

MIN_GAIN = 0.3
"""By how much the share of common characters has to rise; true repairs gain far more."""

_LEAST_COMMON = 0.93  # of what is restored: below, a byte was lost and the rest is out of step
_FEWEST_DISTINCT = 2  # characters: `°±` and `····` are GB18030 for a Chinese character each
_LONGEST_CHARACTER = 3  # bytes of UTF-8 for a Han character
_LOST = ("\ufffd", "锟斤拷", "烫烫烫", "屯屯屯")
"""What stands for bytes that are gone: U+FFFD, the same read as GB18030, and unset memory."""
_MOST_LOST = 0.25  # of a line's characters, in signs that are repeated: no text is quoted like that

_ABOVE_ASCII = re.compile("[^\x00-\x7f]")

_SIGNS = {
    sign: byte for byte in range(0x80, 0xA0) if (sign := bytes([byte]).decode("cp1252", "ignore"))
}
"""What a Windows system shows for bytes that are control characters in Latin-1."""

_LATIN_BYTES = {chr(byte): byte for byte in range(256)} | _SIGNS
_UPPER_BYTE = "[\x80-\xff" + "".join(_SIGNS) + "]"
_LATIN_PAIR = re.compile(f"[\x80-\xff](?:(?={_UPPER_BYTE})|(?<={_UPPER_BYTE}[\x80-\xff]))")
"""Two neighbours above ASCII of which one is from Latin-1."""


def repair(text: str, *, min_gain: float = MIN_GAIN) -> str:
    """`text` with its garbled lines restored, or left out where bytes are lost.

    Clean lines are not touched, and clean text costs no more than a search.
    """
    if _is_clean(text):
        return text
    lines = (_repaired(line, min_gain) for line in text.split("\n"))
    return "\n".join(line for line in lines if line is not None)


def _is_clean(text: str) -> bool:
    if text.isascii():
        return True
    return not (
        any(sign in text for sign in _LOST) or _han_pair().search(text) or _LATIN_PAIR.search(text)
    )


@cache
def _han_pair() -> re.Pattern[str]:
    """Characters whose GB18030 bytes begin as UTF-8's for a Chinese character and what follows."""
    leads, inner = [*range(0xE2, 0xEA), 0xEF], range(0x80, 0xC0)
    first = (bytes((lead, byte)) for lead in leads for byte in inner)
    letters = range(0x40, 0x7F)
    second = (bytes((byte, lead)) for byte in inner for lead in (*leads, *letters))
    return re.compile(f"[{_characters(first)}][{_characters(second)}€?]")


def _characters(pairs: Iterable[bytes]) -> str:
    return "".join(pair.decode("gb18030", "ignore") for pair in pairs)


def _repaired(line: str, min_gain: float) -> str | None:
    """The line as it was meant, the line itself where it is clean, or None where it is lost."""
    if _is_in_pieces(line):
        return None
    if _is_clean(line):
        return line
    before = common_share(line)
    restored: list[str] = []
    is_lost = False
    for data, codec in _as_bytes(line):
        text, is_whole = _decoded(data, codec)
        gain = common_share(text) - before
        if codec == "utf-8":  # which proves itself, so that any gain is a sign
            is_lost |= not is_whole and gain > 0
        else:
            is_whole &= _makes_sense(text)
            is_lost |= not is_whole and gain >= min_gain and _is_mostly_above_ascii(line)
        if is_whole and gain >= min_gain:
            restored.append(text)
    if restored:
        return max(restored, key=common_share)
    by_ftfy = _fix_encoding(line)
    if by_ftfy != line and common_share(by_ftfy) >= before and _is_clean(by_ftfy):
        return by_ftfy
    return None if is_lost else line


def _is_in_pieces(line: str) -> bool:
    """Whether signs of what is lost make up much of the line, one of them again and again."""
    counts = {sign: line.count(sign) for sign in _LOST}
    lost = sum(len(sign) * count for sign, count in counts.items() if count > 1)
    return lost > _MOST_LOST * len("".join(line.split()))


def _makes_sense(text: str) -> bool:
    """Whether what was decoded as GB18030, as almost anything can be, is Chinese."""
    distinct = set(_ABOVE_ASCII.findall(text))
    return len(distinct) >= _FEWEST_DISTINCT and common_share(text) >= _LEAST_COMMON


def _is_mostly_above_ascii(line: str) -> bool:
    """As Chinese bytes are, and no Western language is."""
    return 2 * len(_ABOVE_ASCII.findall(line)) >= len(line)


def _as_bytes(line: str) -> Iterator[tuple[bytes, str]]:
    """(bytes that the line may have been, the codec that they should have been decoded with)."""
    if "€" in line:  # which GBK, as Windows reads it, makes of the byte 0x80
        yield b"\x80".join(part.encode("gb18030", "replace") for part in line.split("€")), "utf-8"
    yield line.encode("gb18030", "replace"), "utf-8"
    if all(character in _LATIN_BYTES for character in line):
        data = bytes(_LATIN_BYTES[character] for character in line)
        yield data, "utf-8"
        if not _decoded(data, "utf-8")[1]:  # almost anything is GB18030, but nothing else is UTF-8
            yield data, "gb18030"


def _decoded(data: bytes, codec: str) -> tuple[str, bool]:
    """(text, whether it is whole but for a character at the end of UTF-8 that lost a byte)."""
    try:
        return data.decode(codec), True
    except UnicodeDecodeError as error:
        if codec == "utf-8" and 0 < len(data.rstrip()) - _LONGEST_CHARACTER <= error.start:
            return data[: error.start].decode(codec), True
        return data.decode(codec, "replace"), False


def _fix_encoding(line: str) -> str:
    import ftfy

    return ftfy.fix_encoding(line, _ftfy_settings())


@cache
def _ftfy_settings() -> Any:  # noqa: ANN401 - a type of ftfy, which is loaded only when needed
    """Only what concerns encodings: Chinese punctuation, quotes and widths stay as they are."""
    import ftfy

    return ftfy.TextFixerConfig(
        fix_character_width=False,
        uncurl_quotes=False,
        fix_latin_ligatures=False,
        normalization=None,
    )
