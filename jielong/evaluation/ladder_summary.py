"""What a climb of the ladder found, as it stands in `summary.json`."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from jielong.core import config
from jielong.core.errors import ConfigError, DataError
from jielong.core.files import write_atomic

FILE = "summary.json"


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One language model: what it is worth on held-out text, and what it took.

    `tokens` is how many it read, with repetition; `size` is in `unit`: grams or parameters.
    """

    name: str
    kind: str
    bits_per_byte: float
    interval: tuple[float, ...]
    by_language: dict[str, float]
    seconds: float
    steps: int
    tokens: int
    size: int
    unit: str


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One prompt, and how each rung goes on."""

    prompt: str
    texts: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Near:
    """A token near what was asked for, and its cosine."""

    token: str
    cosine: float


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """What lies nearest to a word, or to a - b + c, in each model's vectors.

    Empty where `query` has a word that is no single token.
    """

    query: str
    found: dict[str, tuple[Near, ...]]


@dataclass(frozen=True, kw_only=True)
class Translator:
    """One sequence-to-sequence model on held-out pairs.

    `chrf` of its greedy translations, 0 to 100; `accuracy` and `nats` are per target token, given
    the true tokens before it.
    """

    name: str
    attention: bool
    chrf: float
    accuracy: float
    nats: float
    seconds: float
    steps: int
    size: int


@dataclass(frozen=True, kw_only=True)
class Translation:
    """A held-out sentence, its reference, and what each translator made of it."""

    zh: str
    en: str
    texts: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What was said to the rules, and what they answered."""

    said: str
    answer: str


@dataclass(frozen=True, kw_only=True)
class LadderSummary:
    """Everything on the page. `uniform` is the bits per byte of a model that knows nothing."""

    seconds: float
    seed: int
    machine: str
    commit: str | None = None
    train_tokens: int
    valid_tokens: int
    valid_bytes: int
    uniform: float
    pairs: int
    rungs: tuple[Rung, ...]
    samples: tuple[Sample, ...]
    nearest: tuple[Nearest, ...]
    translators: tuple[Translator, ...]
    translations: tuple[Translation, ...]
    dialogue: tuple[Turn, ...]


def write_ladder_summary(summary: LadderSummary, directory: Path) -> None:
    """Write `summary.json` into a run's directory, whole or not at all."""
    text = json.dumps(dataclasses.asdict(summary), ensure_ascii=False, indent=2, allow_nan=False)
    write_atomic(directory / FILE, text + "\n")


def read_ladder_summary(directory: Path) -> LadderSummary:
    """Read what `write_ladder_summary` wrote."""
    path = directory / FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        kept = {key: value for key, value in values.items() if value is not None}
        return config.parse(LadderSummary, kept)
    except (OSError, ValueError, TypeError, AttributeError, ConfigError) as error:
        raise DataError(f"{path}: no ladder's summary ({error}): run the ladder anew") from error
