"""Which encoding bytes of unknown origin are in.

UTF-8 proves itself: text in another encoding is hardly ever valid UTF-8. The others prove nothing,
because almost any bytes are valid GB18030, so they are judged by what they would say: the share of
common characters among those that are not ASCII. No table of frequencies is needed for that, since
GB 2312 and Big5 both put the common characters into a level of their own. Korean and Japanese in
their own code pages (EUC-KR, EUC-JP) fill the same bytes, and are told by what every text of theirs
has: particles and kana.
"""

import codecs
import re
from functools import cache

_BOMS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_CHINESE = ("gb18030", "cp950")
_NARROW = ("utf-8", *_CHINESE)
WIDE = ("utf-16-le", "utf-16-be")
_LEAST_PLAUSIBLE = 0.7
SAMPLE_BYTES = 1 << 16
"""How much of a text `detect` is given."""
_PRINTABLE_ASCII = re.compile(r"[\t\n\r\x20-\x7e]+")
_HAN = re.compile("[\u4e00-\u9fff]")
_KANA = re.compile("[\u3041-\u30ff]")
_OF_CHINESE = re.compile(
    "[，的一是不了在有人我他这中大来上国和地到以说时要就出会可你对生能而子那得于着下自之年过发后作里"
    "這來國說時會對後裡過發著於]"
)
_OF_KOREAN = re.compile("[이다는의가을에고한하지은기로도를니서]")
_LEAST_KOREAN, _FEWEST_KOREAN = 0.2, 4  # of a text: the share of those, and how many of them
_LEAST_KANA = 0.04
_FEWEST_JUDGED = 10  # characters: of fewer it cannot be told whether they are Chinese
_PUNCTUATION = "\u3000、。〈〉《》「」『』【】…—·‘’“”" + "".join(map(chr, range(0xFF01, 0xFF5F)))


@cache
def common_characters() -> frozenset[str]:
    """The Han characters of GB 2312 level 1 and Big5 level 1, and Chinese punctuation."""
    low, high = range(0x40, 0x7F), range(0xA1, 0xFF)
    planes = [("gb2312", range(0xB0, 0xD8), [*high]), ("big5", range(0xA4, 0xC7), [*low, *high])]
    characters = {
        bytes((lead, trail)).decode(codec, "ignore")
        for codec, leads, trails in planes
        for lead in leads
        for trail in trails
    }
    return frozenset(filter(_HAN.fullmatch, characters)).union(_PUNCTUATION)


def common_share(text: str) -> float:
    """The share of common characters among those of `text` that are not ASCII (1 without any)."""
    rest = _PRINTABLE_ASCII.sub("", text)
    return _common(rest) / len(rest) if rest else 1.0


def detect(sample: bytes) -> str | None:
    """The codec of a text that begins with `sample`, or None where none makes sense of it.

    The sample may end inside a character. Zero bytes stand in no text but UTF-16.
    """
    for mark, codec in _BOMS.items():
        if sample.startswith(mark):
            return codec
    if b"\0" not in sample and _is_utf8(sample):
        return "utf-8"
    candidates = WIDE if b"\0" in sample else _NARROW + WIDE
    plausible = {codec: _plausibility(sample, codec) for codec in candidates}
    best = max(candidates, key=plausible.__getitem__)
    if plausible[best] >= _LEAST_PLAUSIBLE:
        is_other = best in _CHINESE and _is_korean_or_japanese(sample, best)
        return None if is_other else best
    return "utf-8" if _is_mostly_utf8(sample) else None


def _is_utf8(sample: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        return False
    return True


def _is_mostly_utf8(sample: bytes) -> bool:
    """Whether most lines are UTF-8 or ASCII: damage, or signs of another system here and there."""
    held = [line for line in sample.split(b"\n") if line.strip()]
    good = [line for line in held if b"\0" not in line and _is_utf8(line)]
    return 2 * len(good) >= len(held) > 0


def _plausibility(sample: bytes, codec: str) -> float:
    """From 0 to 1: how much of the sample, so decoded, is what a writer may have meant.

    UTF-8 that is damaged here and there still proves itself by all the rest. In UTF-16 the ASCII
    characters count too: another encoding would not show them.
    """
    if codec not in WIDE:
        rest = _PRINTABLE_ASCII.sub("", sample.decode(codec, "replace"))
        if not rest:
            return 0.0
        lost = rest.count("\ufffd")
        return 1 - lost / len(rest) if codec == "utf-8" else (_common(rest) - lost) / len(rest)
    text = sample[: len(sample) // 2 * 2].decode(codec, "replace")
    rest = _PRINTABLE_ASCII.sub("", text)
    return (len(text) - len(rest) + _common(rest)) / len(text) if text else 0.0


def _common(text: str) -> int:
    return sum(map(common_characters().__contains__, text))


def _is_korean_or_japanese(sample: bytes, codec: str) -> bool:
    """Whether bytes that would be common Chinese are likelier EUC-KR or EUC-JP."""
    rest = _PRINTABLE_ASCII.sub("", sample.decode(codec, "replace"))
    if len(rest) < _FEWEST_JUDGED:
        return False
    chinese = len(_OF_CHINESE.findall(rest))
    korean = _OF_KOREAN.findall(sample.decode("euc_kr", "replace"))
    is_varied = len(set(korean)) >= _FEWEST_KOREAN
    is_korean = is_varied and len(korean) > max(_LEAST_KOREAN * len(rest), 2 * chinese)
    japanese = sample.decode("euc_jp", "replace")  # Big5 is full of what is no EUC-JP
    kana = len(_KANA.findall(japanese)) - japanese.count("\ufffd")
    return is_korean or kana > max(_LEAST_KANA * len(rest), chinese)
