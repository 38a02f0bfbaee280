"""What each kind of personal data looks like, and what only looks like it.

A pattern proposes; a check disposes: check digits where the kind has them, and the words just
before, because a number of eleven digits is a telephone's or an order's by what it is called.
"""

import re
from collections.abc import Callable
from datetime import date
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import NamedTuple


class Kind(NamedTuple):
    """A pattern, and the check on what it found; a group named `cue` is kept as it stands."""

    pattern: re.Pattern[str]
    is_personal: Callable[[re.Match[str]], bool]


_NONE_BEFORE = r"(?<![0-9A-Za-z_])(?<![0-9][.·-])"
_NONE_AFTER = r"(?![0-9A-Za-z_])(?![.-][0-9])"
_REACH = 16  # how far back a word may stand that says what a number is

_NUMBERED_THING = re.compile(
    r"(?:订单|单号|编号|流水|序号|序列|批号|货号|条码|文号|案号|索引|期号|时间戳|书号|刊号|专利|编码|代码"
    r"|\b(?:ISBN|ISSN|DOI|orders?|serial|invoice|ticket|tracking|build|timestamp|No\.|ID)|#)"
    r"[^0-9\n。；;，]{0,10}$|第 ?$",
    re.IGNORECASE,
)
_TELEPHONE = re.compile(
    r"(?:电话|手机|致电|传真|热线|联系|拨打|短信|\b(?:tele)?phone|\btel\b|\bmobile|\bcall|\bfax)[^0-9]*$",
    re.IGNORECASE,
)


def _before(match: re.Match[str]) -> str:
    return match.string[max(match.start() - _REACH, 0) : match.start()]


def _is_no_thing(match: re.Match[str]) -> bool:
    """Whether no word before says that this is the number of an order, a book, an invoice."""
    before = _before(match)
    return not _NUMBERED_THING.search(before) or bool(_TELEPHONE.search(before))


# A match may begin only where the part before @ begins: that keeps the search linear.
_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9_%+-][A-Za-z0-9._%+-]{0,63}@"
    r"(?P<domain>(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24})(?![A-Za-z0-9_(\[=@-]|:[A-Za-z])"
)
_EXAMPLE_DOMAIN = re.compile(
    r"(?:.+\.)?(?:example(?:\.(?:com|org|net))?|test|invalid|localhost)", re.IGNORECASE
)


def _is_real_address(match: re.Match[str]) -> bool:
    """Whether the domain is none of those that RFC 2606 keeps for examples."""
    return not _EXAMPLE_DOMAIN.fullmatch(match["domain"])


_IDENTITY = re.compile(
    rf"{_NONE_BEFORE}[1-8][0-9]{{5}}(?P<gap>[ -]?)[0-9]{{8}}(?P=gap)[0-9]{{3}}[0-9Xx]{_NONE_AFTER}"
)
_IDENTITY_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_IDENTITY_CHECK = "10X98765432"
_BIRTH_YEARS = range(1900, 2100)


def _is_identity_number(match: re.Match[str]) -> bool:
    """A day of birth that was, and the check digit of GB 11643-1999 (ISO 7064, MOD 11-2)."""
    digits = re.sub(r"[ -]", "", match[0]).upper()
    try:
        born = date(int(digits[6:10]), int(digits[10:12]), int(digits[12:14]))
    except ValueError:
        return False
    pairs = zip(_IDENTITY_WEIGHTS, digits[:-1], strict=True)
    total = sum(weight * int(digit) for weight, digit in pairs)
    return born.year in _BIRTH_YEARS and _IDENTITY_CHECK[total % 11] == digits[-1]


_CARD = re.compile(
    rf"{_NONE_BEFORE}(?:[2-9][0-9]{{12,18}}"
    rf"|[2-9][0-9]{{3}}(?P<gap>[ -])[0-9]{{4}}(?:(?P=gap)[0-9]{{4}}){{2}}(?:(?P=gap)[0-9]{{3}})?"
    rf"){_NONE_AFTER}"
)
_ISSUERS = re.compile(
    r"62[0-9]{14,17}|9558[0-9]{15}"  # UnionPay, and one of its banks before it
    r"|4[0-9]{12}(?:[0-9]{3})?|(?:5[1-5]|2[2-7])[0-9]{14}"  # Visa, Mastercard
    r"|3[47][0-9]{13}|35[0-9]{14}|3[068][0-9]{12}|6(?:011|5[0-9]{2})[0-9]{12}"
)


def _is_bank_card(match: re.Match[str]) -> bool:
    """An issuer's prefix with its length, and the check digit of ISO/IEC 7812 (Luhn)."""
    digits = re.sub(r"[ -]", "", match[0])
    if not _ISSUERS.fullmatch(digits) or not _is_no_thing(match):
        return False
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    return sum(value - 9 * (value > 9) for value in doubled) % 10 == 0


_AREA = r"(?:10|2[0-57-9]|[3-9][0-9]{2})"
_PHONE = re.compile(
    rf"{_NONE_BEFORE}(?:"
    r"(?:(?:\+|00)?86[ -]?)?1(?:3[0-9]|4[014-9]|5[0-35-9]|6[2567]|7[0-8]|8[0-9]|9[0-35-9])"
    r"(?P<gap>[ -]?)[0-9]{4}(?P=gap)[0-9]{4}"
    rf"|(?:[(（]0{_AREA}[)）] ?|(?:0|(?:\+|00)86[ -]?){_AREA}[ -]?)[2-8][0-9]{{2,3}}[ -]?[0-9]{{4}}"
    rf"(?:(?:-|转)[0-9]{{1,5}})?"
    # any other country's, as ITU-T E.164 has them: + and nine to fifteen digits
    r"|(?<![+])\+(?!86)[1-9][0-9]{0,2}(?:[ .-]?\([0-9]{1,4}\))?(?:[ .-]?[0-9]{2,5}){2,5}"
    rf"){_NONE_AFTER}"
)


def _is_telephone(match: re.Match[str]) -> bool:
    digits = sum(character.isdigit() for character in match[0])
    return digits <= 15 and (match[0][0] != "+" or digits >= 9) and _is_no_thing(match)


_IP = re.compile(
    r"(?<![0-9A-Za-z_.])(?<![A-Za-z]/)(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9A-Za-z_])(?!\.[0-9])"
    # 2000::/3, which all global addresses of version 6 are in
    r"|(?<![0-9A-Za-z_:.])[23][0-9A-Fa-f]{3}(?::[0-9A-Fa-f]{0,4}){2,7}(?![0-9A-Za-z_:])"
)
_VERSION = re.compile(
    r"(?:版本?号?|升级[到至]|更新[到至]|第|§"
    r"|\b(?:versions?|ver|release|build|rev|section|chapter|figure|table|v))[^0-9]{0,4}$",
    re.IGNORECASE,
)
_LARGEST_VERSION_PART = 31  # addresses with no larger part are rare, and mostly public resolvers


def _is_public_address(match: re.Match[str]) -> bool:
    """A global address that neither the words before nor its small parts call a version."""
    if ":" in match[0]:
        return _is_public_address_of_version_6(match[0])
    parts = [int(part) for part in match[0].split(".")]
    if not _LARGEST_VERSION_PART < max(parts) <= 255 or _VERSION.search(_before(match)):
        return False
    return IPv4Address(bytes(parts)).is_global


def _is_public_address_of_version_6(text: str) -> bool:
    """Of three groups at least: 2001::2010 is years, or a name in C++."""
    try:
        return IPv6Address(text).is_global and sum(map(bool, text.split(":"))) >= 3
    except AddressValueError:
        return False


_QQ = re.compile(
    r"(?P<cue>(?<![A-Za-z])(?:QQ|qq|Qq|扣扣)(?: ?(?:群号?|号码?|number))?(?:是|为| is)?[:： ]{0,3})"
    rf"[1-9][0-9]{{4,10}}{_NONE_AFTER}"
)
_WECHAT_NAME = r"[A-Za-z][A-Za-z0-9_-]{5,19}(?![A-Za-z0-9_-])"
_WECHAT = re.compile(
    r"(?P<cue>(?:微信|[Vv]信)(?:号码?|[账帐]号)(?:是|为)?[:： ]{0,3}"
    r"|(?:(?<![A-Za-z])(?:[Ww]e[Cc]hat|WECHAT|[Ww]eixin|[Vv][Xx])|微信|[Vv]信)"
    r"(?: ?(?:ID|id|account))?(?: ?[:：]| is |是|为) {0,2}(?=[A-Za-z_-]*[0-9_-])"
    rf"|加我?(?:微信|[Vv]信|[Vv][Xx]?)[:： ]{{0,3}}(?=[A-Za-z_-]*[0-9_-])){_WECHAT_NAME}"
)


def _always(_: re.Match[str]) -> bool:
    return True


KINDS = {
    "email": Kind(_EMAIL, _is_real_address),
    "identity": Kind(_IDENTITY, _is_identity_number),
    "card": Kind(_CARD, _is_bank_card),
    "phone": Kind(_PHONE, _is_telephone),
    "ip": Kind(_IP, _is_public_address),
    "qq": Kind(_QQ, _always),
    "wechat": Kind(_WECHAT, _always),
}
"""In the order in which they are looked for: an address may hold a number, never the reverse."""
