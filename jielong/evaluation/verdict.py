"""Is my RLHF ok? One word with its reasons, from the numbers of a run.

*broken*: a check failed, a metric is not finite, the reward model orders pairs worse than a coin,
or the aligned model loses to SFT. *look*: nothing is proven, or something grew that should not.
*ok*: neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from jielong.evaluation.report_data import Material, Run
from jielong.evaluation.summary import PreferenceSummary, RewardModelSummary, Tax

Level = Literal["ok", "look", "broken"]

KL_LIMIT = 5.0  # nats
LENGTH_MARGIN = 0.02  # of pair accuracy over the length baseline
TAX_LIMITS = {
    "ppo": 0.05,
    "ppo_ptx": 0.02,
}  # bits per byte above SFT's; ptx is there to pay it back
NAMES = {"ppo": "PPO", "ppo_ptx": "PPO-ptx", "ppo_chain": "PPO on chains"}


@dataclass(frozen=True)
class Verdict:
    """The level, what speaks against the run (gravest first), and what was found in order."""

    level: Level
    concerns: tuple[str, ...]
    findings: tuple[str, ...]


class _Notes:
    def __init__(self) -> None:
        self.broken: list[str] = []
        self.look: list[str] = []
        self.fine: list[str] = []

    def verdict(self) -> Verdict:
        level: Level = "broken" if self.broken else "look" if self.look else "ok"
        return Verdict(level, (*self.broken, *self.look), tuple(self.fine))


def judge(material: Material) -> Verdict | None:
    """The verdict, or None when nothing was aligned yet."""
    summary = material.summary
    aligned = [run for run in material.runs if run.manifest.get("stage") == "ppo"]
    compared = {} if summary is None else {name: getattr(summary, name) for name in NAMES}
    if not aligned and not any(compared.values()):
        return None
    notes = _Notes()
    for run in material.runs:
        _judge_run(run, notes)
    for name, preference in compared.items():
        if preference:
            _judge_preference(NAMES[name], preference, notes)
    if summary and summary.reward_model:
        _judge_reward_model(summary.reward_model, notes)
    if summary and summary.tax:
        _judge_tax(summary.tax, notes)
    for name in ("ppo", "ppo-ptx"):
        run = material.run(name)
        if run:
            _judge_gold(run, notes)
    return notes.verdict()


def _judge_run(run: Run, notes: _Notes) -> None:
    notes.broken += [
        f"{run.title}: failed check: {name}" for name in run.manifest.get("failed", ())
    ]
    for key in run.broken_metrics():
        notes.broken.append(f"{run.title}: {key} is not finite")
    notes.look += [f"{run.title}: alarm: {name}" for name in run.manifest.get("alarms", ())]
    if run.manifest.get("finished") is False:
        notes.look.append(f"{run.title}: the run has not finished")


def _judge_preference(name: str, preference: PreferenceSummary, notes: _Notes) -> None:
    low, high = preference.win_rate_ci
    figures = f"{preference.win_rate:.3f} [{low:.3f}, {high:.3f}] of {preference.n} prompts"
    if high < 0.5:
        notes.broken.append(f"{name} loses to SFT: it wins {figures}")
    elif low <= 0.5:
        notes.look.append(f"{name} is not shown to beat SFT: it wins {figures}")
    else:
        notes.fine.append(f"{name} beats SFT: it wins {figures}")
    controlled = preference.length_controlled
    if controlled is not None and controlled < 0.5 <= preference.win_rate:
        notes.look.append(f"{name} wins by length: {controlled:.3f} at equal length")
    greedy = preference.greedy_win_rate_ci
    if greedy and greedy[1] < 0.5:
        notes.look.append(f"{name} loses to SFT when both decode greedily: at most {greedy[1]:.3f}")
    if preference.gold_ppo <= preference.gold_sft:
        scores = f"{preference.gold_sft:.3f} to {preference.gold_ppo:.3f}"
        notes.look.append(f"{name}: the score did not rise: {scores}")
    if preference.kl > KL_LIMIT:
        notes.look.append(f"{name} went far from its reference: KL {preference.kl:.2f} nats")
    else:
        notes.fine.append(f"{name} stayed near its reference: KL {preference.kl:.2f} nats")


def _judge_reward_model(model: RewardModelSummary, notes: _Notes) -> None:
    figures = f"{model.pair_accuracy:.3f} against {model.length_baseline:.3f} by length alone"
    if model.pair_accuracy < 0.5:
        notes.broken.append(f"The reward model prefers the worse answer: {figures}")
    elif model.pair_accuracy < model.length_baseline + LENGTH_MARGIN:
        notes.look.append(f"The reward model knows little more than length: {figures}")
    else:
        notes.fine.append(f"The reward model orders pairs rightly: {figures}")


def _judge_tax(tax: Tax, notes: _Notes) -> None:
    for key, limit in TAX_LIMITS.items():
        value = getattr(tax, key)
        if value is None:
            continue
        figures = f"{value - tax.sft:+.3f} bits per byte beside SFT"
        if value > tax.sft + limit:
            notes.look.append(f"{NAMES[key]} forgot language: {figures}")
        else:
            notes.fine.append(f"{NAMES[key]} kept its language: {figures}")


def _judge_gold(run: Run, notes: _Notes) -> None:
    """Whether the noise-free score ends clearly below its peak: the mark of over-optimisation."""
    _, gold = run.series("gold_mean")
    values = np.array([value for value in gold if np.isfinite(value)])
    window = len(values) // 8
    if window < 2:
        return  # too few to tell a fall from noise
    error = np.diff(values).std() / np.sqrt(2 * window)
    smooth = np.convolve(values, np.ones(window) / window, mode="valid")
    fall = float(smooth.max() - smooth[-1])
    gain = float(smooth.max() - smooth[0])
    if fall > max(3 * error, 0.1 * gain):  # the highest of many noisy means lies above its level
        notes.look.append(f"{run.title}: the noise-free score ends {fall:.3f} below its peak")
