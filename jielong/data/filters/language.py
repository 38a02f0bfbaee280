"""Which language a text is in: by its script where that decides, else by py3langid's model.

Han characters without Kana are Chinese, modern or classical, in either script; the model is asked
only about alphabets, and only about a sample. "mixed" is Chinese and English side by side.
"""

import re
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

from jielong.core.errors import DataError
from jielong.data.documents import Block, Document, Dropped
from jielong.data.filters.scripts import Characters, Kind, count

UNDETERMINED = "und"
"""ISO 639's code for a text without letters, or in a script that we do not tell apart."""

_LETTERS_PER_WORD = 5  # a rough exchange between alphabets and characters that are words
_KANA_SHARE = 0.1  # of Kana and Han; Japanese prose has about half, Chinese quotes a の
_SAMPLE_WINDOWS = 2
_NOT_ALPHABETIC = re.compile(r"[^A-Za-z\u00c0-\u02af\u0400-\u052f\u1e00-\u1eff'’]+")


@dataclass(frozen=True, kw_only=True)
class LanguageConfig:
    """The recipe of language identification."""

    keep: tuple[str, ...] = ("zh", "en", "mixed")
    alphabetic: tuple[str, ...] = ("en", "de", "fr", "es", "it", "pt", "nl", "ru", "uk")
    min_letters: int = 20  # with fewer, the script alone decides
    mixed_share: float = 0.15  # of the Han characters and Latin words: the lesser of the two
    sample_characters: int = 1000

    def __post_init__(self) -> None:
        if not self.keep:
            raise ValueError("keep: empty: name at least one language")
        if "en" not in self.alphabetic:
            raise ValueError(f"alphabetic: {', '.join(self.alphabetic)}: must hold 'en'")
        if self.min_letters < 0:
            raise ValueError(f"min_letters: {self.min_letters}: must not be negative")
        if not 0 < self.mixed_share <= 0.5:
            raise ValueError(f"mixed_share: {self.mixed_share}: must be above 0 and at most 0.5")
        if self.sample_characters < 1:
            raise ValueError(f"sample_characters: {self.sample_characters}: must be at least 1")


def block(config: LanguageConfig) -> Block:
    """The step that sets a document's language, and drops languages that are not kept."""
    return partial(_label, config=config)


def _label(document: Document, config: LanguageConfig) -> Document | Dropped:
    lang, detail = _decide(document.text, config)
    if lang not in config.keep:
        return Dropped(document=document, rule=f"language.{lang}", detail=detail)
    return document if lang == document.lang else replace(document, lang=lang)


def identify(text: str, config: LanguageConfig) -> str:
    """The language of `text`: an ISO 639 code, "mixed", or `UNDETERMINED`."""
    return _decide(text, config)[0]


def _decide(text: str, config: LanguageConfig) -> tuple[str, str]:
    """The language and, in a few words, what decided."""
    found = count(text)
    weights = _weights(found)
    total = sum(weights.values())
    if not total:
        return UNDETERMINED, "no letters"
    script = max(weights, key=lambda name: weights[name])
    detail = f"{weights[script] / total:.2f} of the text by script"
    han, latin = weights["zh"], weights["latin"]
    if script in {"zh", "latin"} and min(han, latin) >= config.mixed_share * (han + latin):
        return "mixed", detail
    if script not in {"latin", "cyrillic"}:
        return script, detail
    if found.letters < config.min_letters:
        return ("en" if script == "latin" else "ru"), detail
    lang, probability = _identifier(config.alphabetic).classify(_sample(text, config))
    return lang, f"probability {probability:.2f}"


def _weights(found: Characters) -> dict[str, float]:
    """About how many words the text has of each script."""
    letters, runs = found.counts, found.runs
    asian = letters[Kind.HAN] + letters[Kind.KANA]
    is_japanese = letters[Kind.KANA] > 0 and letters[Kind.KANA] >= _KANA_SHARE * asian
    return {
        "zh": 0 if is_japanese else asian,
        "ja": asian if is_japanese else 0,
        "ko": letters[Kind.HANGUL],
        "latin": runs[Kind.LATIN],
        "cyrillic": runs[Kind.CYRILLIC],
        UNDETERMINED: letters[Kind.OTHER_LETTER] / _LETTERS_PER_WORD,
    }


def _sample(text: str, config: LanguageConfig) -> str:
    """The words of the beginning and of the middle: a foreign preface must not decide alone."""
    window = config.sample_characters // _SAMPLE_WINDOWS
    if len(text) > config.sample_characters:
        middle = (len(text) - window) // 2
        text = f"{text[:window]} {text[middle : middle + window]}"
    return _NOT_ALPHABETIC.sub(" ", text)


@cache
def _identifier(languages: tuple[str, ...]) -> Any:  # noqa: ANN401 - py3langid has no types
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        raise DataError(
            "telling languages apart needs py3langid: pip install 'jielong[data]'"
        ) from None
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    if unknown := sorted(set(languages).difference(identifier.nb_classes)):
        raise DataError(
            f"language.alphabetic: {', '.join(unknown)}: unknown to py3langid: "
            "use ISO 639 codes, such as 'de'"
        )
    identifier.set_languages(languages)
    return identifier
