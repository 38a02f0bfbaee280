import dataclasses

import numpy as np
import pytest

from jielong.evaluation.report_data import Material, Run
from jielong.evaluation.summary import (
    PreferenceSummary,
    RewardModelSummary,
    Summary,
    Tax,
)
from jielong.evaluation.verdict import judge

GOOD = PreferenceSummary(
    win_rate=0.7, win_rate_ci=(0.67, 0.73), kl=2.5, gold_sft=0.0, gold_ppo=0.5, n=400
)


def material(gold: list[float] | None = None, manifest: dict | None = None, **changes) -> Material:
    values = {
        "train_seconds": 1.0,
        "peak_rss_bytes": 1,
        "stages": {},
        "seed": 0,
        "machine": "",
        "ppo": GOOD,
        "ppo_ptx": GOOD,
        "reward_model": RewardModelSummary(pair_accuracy=0.7, length_baseline=0.6, n=300),
        "tax": Tax(base=2.4, sft=2.45, ppo=2.47, ppo_ptx=2.45),
    }
    lines = [{"step": i, "gold_mean": value} for i, value in enumerate(gold or [])]
    run = Run("ppo", {"stage": "ppo", "finished": True, **(manifest or {})}, tuple(lines))
    return Material("x", Summary(**{**values, **changes}), (run,), {})


def change(**fields) -> dict:
    return {"ppo": dataclasses.replace(GOOD, **fields)}


def test_a_good_run_is_ok() -> None:
    verdict = judge(material())
    assert verdict is not None
    assert verdict.level == "ok"
    assert verdict.concerns == ()
    assert "PPO beats SFT: it wins 0.700 [0.670, 0.730] of 400 prompts" in verdict.findings


def test_nothing_aligned_is_not_judged() -> None:
    pretrain = Run("pretrain", {"stage": "pretrain"}, ())
    assert judge(Material("x", None, (pretrain,), {})) is None


@pytest.mark.parametrize(
    ("changes", "level", "said"),
    [
        (change(win_rate=0.4, win_rate_ci=(0.37, 0.43)), "broken", "loses to SFT"),
        (change(win_rate=0.52, win_rate_ci=(0.49, 0.55)), "look", "not shown to beat SFT"),
        (change(win_rate=0.48, win_rate_ci=(0.45, 0.51)), "look", "not shown to beat SFT"),
        (change(length_controlled=0.48), "look", "wins by length"),
        (change(greedy_win_rate_ci=(0.4, 0.47)), "look", "decode greedily"),
        (change(kl=7.0), "look", "far from its reference"),
        (change(gold_ppo=-0.1), "look", "did not rise"),
        (
            {"ppo_chain": dataclasses.replace(GOOD, win_rate=0.4, win_rate_ci=(0.37, 0.43))},
            "broken",
            "PPO on chains loses to SFT",
        ),
        ({"tax": Tax(base=2.4, sft=2.45, ppo=2.47, ppo_ptx=2.48)}, "look", "PPO-ptx forgot"),
        ({"tax": Tax(base=2.4, sft=2.45, ppo=2.6, ppo_ptx=2.45)}, "look", "PPO forgot"),
        (
            {"reward_model": RewardModelSummary(pair_accuracy=0.61, length_baseline=0.6, n=9)},
            "look",
            "little more than length",
        ),
        (
            {"reward_model": RewardModelSummary(pair_accuracy=0.4, length_baseline=0.3, n=9)},
            "broken",
            "prefers the worse",
        ),
        ({"manifest": {"failed": ["H4"]}}, "broken", "failed check: H4"),
        ({"manifest": {"alarms": ["ratio above 10"]}}, "look", "ratio above 10"),
        ({"manifest": {"finished": False}}, "look", "has not finished"),
    ],
)
def test_each_fault_is_found(changes: dict, level: str, said: str) -> None:
    verdict = judge(material(**changes))
    assert verdict is not None
    assert verdict.level == level
    assert len(verdict.concerns) == 1
    assert said in verdict.concerns[0]


def test_a_fall_from_the_peak_is_told_from_noise() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(scale=0.05, size=80)
    rising = np.minimum(np.arange(80) / 30, 1.0)
    falling = rising - np.maximum(np.arange(80) - 40, 0) / 60
    steady = judge(material(gold=(rising + noise).tolist()))
    fallen = judge(material(gold=(falling + noise).tolist()))
    assert steady is not None
    assert fallen is not None
    assert steady.level == "ok"
    assert fallen.level == "look"
    assert "below its peak" in fallen.concerns[0]


def test_a_metric_that_is_not_finite_breaks_the_run() -> None:
    verdict = judge(material(gold=[0.1, float("nan")]))
    assert verdict is not None
    assert verdict.concerns == ("PPO: gold_mean is not finite",)
