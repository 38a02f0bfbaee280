import dataclasses
import json
from pathlib import Path

import pytest

from jielong.core.errors import DataError
from jielong.evaluation.summary import (
    BitsPerByteSummary,
    PreferenceSummary,
    RewardModelSummary,
    StageCost,
    Summary,
    TaskScore,
    Tax,
    read_summary,
    write_summary,
)


def summary(**changes) -> Summary:
    values = {
        "train_seconds": 800.5,
        "peak_rss_bytes": 2_000_000_000,
        "stages": {"pretrain": StageCost(seconds=360.0, steps=1500, tokens=1_500_000)},
        "bits_per_byte": BitsPerByteSummary(
            model=2.4, ngram=2.5, xz=3.4, by_language={"zh": {"model": 2.3, "ngram": 2.4}}
        ),
        "tasks": {"category": TaskScore(chance=0.125, base=0.1, sft=0.5, n=200, decoding="greedy")},
        "reward_model": RewardModelSummary(pair_accuracy=0.7, length_baseline=0.6, n=300),
        "ppo": PreferenceSummary(
            win_rate=0.7, win_rate_ci=(0.67, 0.73), kl=2.5, gold_sft=-0.1, gold_ppo=0.5, n=400
        ),
        "tax": Tax(base=2.4, sft=2.45),
        "seed": 0,
        "machine": "2 cores",
        "commit": "abc",
    }
    return Summary(**{**values, **changes})


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    write_summary(summary(), path)
    assert read_summary(path) == summary()
    values = json.loads(path.read_text())
    assert values["ppo_ptx"] is None
    assert values["ppo"]["win_rate_ci"] == [0.67, 0.73]


def test_the_keys_are_a_contract(tmp_path: Path) -> None:
    write_summary(summary(), tmp_path / "summary.json")
    values = json.loads((tmp_path / "summary.json").read_text())
    assert {"train_seconds", "peak_rss_bytes", "stages", "bits_per_byte", "tasks"} <= set(values)
    assert {"reward_model", "ppo", "ppo_ptx", "ppo_chain", "tax"} <= set(values)
    assert {"seed", "commit", "machine"} <= set(values)
    assert set(values["stages"]["pretrain"]) == {"seconds", "steps", "tokens"}
    assert {"model", "ngram", "ngram_all", "xz", "by_language"} <= set(values["bits_per_byte"])
    task = {"chance", "base", "sft", "ppo", "ppo_ptx", "ppo_chain", "n", "decoding"}
    assert set(values["tasks"]["category"]) == task
    rewarded = {"pair_accuracy", "ceiling", "length_baseline", "n"}
    assert rewarded <= set(values["reward_model"])
    preferred = {"win_rate", "win_rate_ci", "kl", "gold_sft", "gold_ppo", "n"}
    assert preferred <= set(values["ppo"])
    assert set(values["tax"]) == {"base", "sft", "ppo", "ppo_ptx"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_seconds": float("nan")}, r"train_seconds: nan"),
        ({"peak_rss_bytes": -1}, r"peak_rss_bytes: -1"),
        ({"tax": Tax(base=2.4, sft=float("inf"))}, r"tax\.sft: inf"),
        (
            {"reward_model": RewardModelSummary(pair_accuracy=1.7, length_baseline=0.6, n=3)},
            r"reward_model\.pair_accuracy: 1\.7",
        ),
        (
            {"tasks": {"recall": TaskScore(chance=0.0, sft=60.0, n=9, decoding="greedy")}},
            r"tasks\.recall\.sft: 60\.0",
        ),
    ],
)
def test_impossible_numbers_are_not_written(tmp_path: Path, change: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        write_summary(summary(**change), tmp_path / "summary.json")
    assert not list(tmp_path.iterdir())


def test_an_interval_has_two_ordered_ends(tmp_path: Path) -> None:
    assert summary().ppo is not None
    wrong = dataclasses.replace(summary().ppo, win_rate_ci=(0.8, 0.6))
    with pytest.raises(DataError, match="win_rate_ci"):
        write_summary(summary(ppo=wrong), tmp_path / "summary.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a summary"),
        ("[]", "not a summary"),
        ('{"train_secs": 1}', "did you mean 'train_seconds'"),
        ('{"train_seconds": 1}', "missing"),
    ],
)
def test_what_is_no_summary_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "summary.json").write_text(text)
    with pytest.raises(DataError, match=message):
        read_summary(tmp_path / "summary.json")
