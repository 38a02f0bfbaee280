"""The words, idioms and sentences that tasks are made of, in one file beside the documents."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from jielong.core.errors import DataError
from jielong.core.files import write_atomic


class Idiom(TypedDict):
    """What is known of one idiom of four Han characters.

    THUOCL sorts by frequency but gives no figures, so `count` is how many of its idioms are not
    commoner than this one; 0 for an idiom that only the dictionary has.
    """

    count: int
    pinyin: str | None
    gloss: str | None


class Sentence(TypedDict):
    """One short real sentence."""

    text: str
    lang: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Lexicon:
    """Word resources, each in a fixed order."""

    idioms: dict[str, Idiom] = field(default_factory=dict)
    categories: dict[str, list[str]] = field(default_factory=dict)
    sentences: list[Sentence] = field(default_factory=list)
    words_zh: list[str] = field(default_factory=list)
    words_en: list[str] = field(default_factory=list)
    translations: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> "Lexicon":
        """Read a lexicon; raises `DataError` when the file is missing or is none."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise DataError(f"{path}: no such lexicon: run jielong prepare first") from None
        except (ValueError, TypeError) as error:
            raise DataError(f"{path}: not a lexicon ({error}): run jielong prepare anew") from None

    def save(self, path: Path) -> None:
        """Write the lexicon, one entry to a line so that two can be compared."""
        write_atomic(path, json.dumps(vars(self), ensure_ascii=False, indent=0) + "\n")
