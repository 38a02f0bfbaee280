"""`summary.json`: what a whole run reached, in one file that other programs may rely on.

The dataclasses are the schema: reading refuses unknown or missing keys and impossible values, so
that a summary which loads is a summary which means something. What a run did not measure is null.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jielong.core import config
from jielong.core.errors import ConfigError, DataError
from jielong.core.files import write_atomic


@dataclass(frozen=True, kw_only=True)
class StageCost:
    """What one stage took."""

    seconds: float
    steps: int
    tokens: int


@dataclass(frozen=True, kw_only=True)
class BitsPerByteSummary:
    """The base model on held-out text, beside what it has to beat."""

    model: float
    ngram: float | None = None  # 5-gram on as many tokens as the model was trained on
    ngram_all: float | None = None  # 5-gram on the whole corpus
    xz: float | None = None  # xz -9e on the held-out text alone
    xz_after_training_text: float | None = None  # what it adds to the compressed training text
    by_language: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TaskScore:
    """Share of held-out items of one task family answered right by each stage."""

    chance: float
    n: int
    decoding: str
    base: float | None = None
    sft: float | None = None
    ppo: float | None = None
    ppo_ptx: float | None = None
    ppo_chain: float | None = None  # PPO on the checker of idiom chains


@dataclass(frozen=True, kw_only=True)
class RewardModelSummary:
    """Pairs of held-out prompts ordered as the noise-free judge orders them."""

    pair_accuracy: float
    length_baseline: float
    n: int
    ceiling: float | None = None
    pair_accuracy_ci: tuple[float, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class PreferenceSummary:
    """One aligned model against SFT on held-out prompts.

    `gold_*` are mean scores by the noise-free scorer; for idiom chains, the share of right answers.
    """

    win_rate: float
    win_rate_ci: tuple[float, ...]
    kl: float
    gold_sft: float
    gold_ppo: float
    n: int
    decoding: str = ""
    length_controlled: float | None = None
    greedy_win_rate: float | None = None
    greedy_win_rate_ci: tuple[float, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Tax:
    """Held-out bits per byte of each stage's model."""

    base: float
    sft: float
    ppo: float | None = None
    ppo_ptx: float | None = None


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The whole chain; parts that were not run are None."""

    train_seconds: float
    peak_rss_bytes: int
    stages: dict[str, StageCost]
    seed: int
    machine: str
    commit: str | None = None
    bits_per_byte: BitsPerByteSummary | None = None
    tasks: dict[str, TaskScore] = field(default_factory=dict)
    reward_model: RewardModelSummary | None = None
    ppo: PreferenceSummary | None = None
    ppo_ptx: PreferenceSummary | None = None
    ppo_chain: PreferenceSummary | None = None  # judged by the checker of idiom chains
    tax: Tax | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, every key present."""
        return dataclasses.asdict(self)


def write_summary(summary: Summary, path: Path) -> None:
    """Validate and write, whole or not at all."""
    values = summary.to_dict()
    _check(values, "summary")
    write_atomic(path, json.dumps(values, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def read_summary(path: Path) -> Summary:
    """Read and validate what `write_summary` wrote."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        summary = config.parse(Summary, _without_nulls(values))
    except (OSError, ValueError, TypeError, ConfigError) as error:
        raise DataError(f"{path}: not a summary ({error}): run the quickstart anew") from error
    _check(summary.to_dict(), str(path))
    return summary


def _without_nulls(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return value


def _check(values: dict[str, Any], where: str, section: str = "") -> None:
    """Refuse numbers that cannot be: not finite, negative counts, shares outside [0, 1]."""
    for key, value in values.items():
        place = f"{where}.{key}"
        if isinstance(value, dict):
            _check(value, place, section or key)
        elif isinstance(value, tuple):
            if len(value) != 2 or not 0 <= value[0] <= value[1] <= 1:
                raise DataError(f"{place}: {value}: give the interval's low and high end in [0, 1]")
        elif isinstance(value, int | float):
            low, high = _bounds(section, key)
            if not (math.isfinite(value) and low <= value <= high):
                raise DataError(f"{place}: {value}: expected a number from {low} to {high}")


def _bounds(section: str, key: str) -> tuple[float, float]:
    if key in {"kl", "gold_sft", "gold_ppo"}:  # an estimated KL may fall below zero
        return -math.inf, math.inf
    share = section in {"tasks", "reward_model", "ppo", "ppo_ptx", "ppo_chain"} and key != "n"
    return 0.0, 1.0 if share else math.inf
