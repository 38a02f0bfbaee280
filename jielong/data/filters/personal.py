"""Personal numbers and addresses give way to fixed placeholders, such as [EMAIL] or [邮箱].

Masked are e-mail, telephone numbers (Chinese ones, others with + and their country's code), Chinese
identity numbers, bank card numbers, public IP addresses, QQ and WeChat names. Names of people and
street addresses are not touched.
"""

import re
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial

from jielong.data.documents import Block, Document, Dropped
from jielong.data.filters.personal_kinds import KINDS, Kind

PLACEHOLDERS = {
    "email": {"zh": "[邮箱]", "en": "[EMAIL]"},
    "identity": {"zh": "[身份证号]", "en": "[ID_NUMBER]"},
    "card": {"zh": "[银行卡号]", "en": "[BANK_CARD]"},
    "phone": {"zh": "[电话]", "en": "[PHONE]"},
    "ip": {"zh": "[IP地址]", "en": "[IP_ADDRESS]"},
    "qq": {"zh": "[QQ号]", "en": "[QQ]"},
    "wechat": {"zh": "[微信号]", "en": "[WECHAT]"},
}
"""What stands in the place of each kind; any language but Chinese has the English one."""

# Most texts hold nothing of the kind, and this sees it in a fraction of the time.
_MAY_HOLD_ANY = re.compile(
    r"[0-9](?:[ .()（）-]{0,2}[0-9]){4}|[23][0-9A-Fa-f]{3}:[0-9A-Fa-f]{0,4}:"
    r"|[Ww][Ee](?:[Cc][Hh][Aa][Tt]|[Ii][Xx][Ii][Nn])|[Vv][Xx信]"
)


@dataclass(frozen=True, kw_only=True)
class PersonalConfig:
    """The recipe of masking."""

    kinds: tuple[str, ...] = tuple(KINDS)

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if kind not in KINDS:
                raise ValueError(f"kinds: {kind}: choose from {', '.join(KINDS)}")


def block(config: PersonalConfig) -> Block:
    """The step that masks; it never drops a document."""
    return partial(_masked, config=config)


def _masked(document: Document, config: PersonalConfig) -> Document | Dropped:
    text, found = mask(document.text, document.lang, config)
    return replace(document, text=text, masked=dict(found)) if found else document


def mask(text: str, lang: str, config: PersonalConfig) -> tuple[str, Counter[str]]:
    """`text` with placeholders, and how many of each kind were put there."""
    found = Counter[str]()
    if not ("@" in text or "微信" in text or _MAY_HOLD_ANY.search(text)):
        return text, found
    for name, kind in KINDS.items():
        if name in config.kinds:
            placeholder = PLACEHOLDERS[name]["zh" if lang == "zh" else "en"]
            text, found[name] = _substitute(kind, placeholder, text)
    return text, +found


def _substitute(kind: Kind, placeholder: str, text: str) -> tuple[str, int]:
    """`text` with the placeholder wherever the kind is found, and how often that is."""
    parts: list[str] = []
    end = 0
    for match in kind.pattern.finditer(text):
        if kind.is_personal(match):
            parts += text[end : match.start()], match.groupdict().get("cue", ""), placeholder
            end = match.end()
    return "".join(parts) + text[end:], len(parts) // 3
