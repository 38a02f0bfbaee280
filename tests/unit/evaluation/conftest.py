"""A finished quickstart directory with plausible numbers, for the report's tests."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from jielong.evaluation.reward_report import RankedScores, reward_report
from jielong.evaluation.statistics import best_of_n
from jielong.evaluation.summary import (
    BitsPerByteSummary,
    PreferenceSummary,
    RewardModelSummary,
    StageCost,
    Summary,
    TaskScore,
    Tax,
    write_summary,
)

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def make_summary() -> Summary:
    def task(chance: float, *scores: float) -> TaskScore:
        stages = dict(zip(("base", "sft", "ppo", "ppo_ptx"), scores, strict=True))
        return TaskScore(chance=chance, n=200, decoding="greedy", **stages)

    def preference(rate: float, low: float, high: float, kl: float) -> PreferenceSummary:
        return PreferenceSummary(
            win_rate=rate,
            win_rate_ci=(low, high),
            kl=kl,
            gold_sft=-0.02,
            gold_ppo=0.48,
            n=400,
            decoding="temperature 0.7, 4 samples a side",
            length_controlled=rate - 0.09,
            greedy_win_rate=rate + 0.03,
            greedy_win_rate_ci=(low + 0.01, high + 0.05),
        )

    return Summary(
        train_seconds=884.2,
        peak_rss_bytes=1_730_000_000,
        stages={
            "pretrain": StageCost(seconds=361.0, steps=1480, tokens=1_515_520),
            "sft": StageCost(seconds=226.4, steps=900, tokens=934_000),
            "reward": StageCost(seconds=81.9, steps=100, tokens=402_000),
            "ppo": StageCost(seconds=104.2, steps=120, tokens=131_000),
            "ppo_ptx": StageCost(seconds=110.7, steps=120, tokens=208_000),
        },
        bits_per_byte=BitsPerByteSummary(
            model=2.412,
            ngram=2.538,
            ngram_all=2.041,
            xz=3.421,
            by_language={
                "en": {"model": 2.291, "ngram": 2.402, "ngram_all": 1.954, "xz": 3.1},
                "zh": {"model": 2.533, "ngram": 2.671, "ngram_all": 2.128},
            },
        ),
        tasks={
            "idiom_chain": task(0.0, 0.0, 0.47, 0.46, 0.48),
            "chain_first_character": task(0.001, 0.03, 0.98, 0.975, 0.98),
            "last_character": task(0.002, 0.05, 0.83, 0.82, 0.835),
            "category": task(0.125, 0.11, 0.55, 0.54, 0.552),
            "recall": task(0.0, 0.0, 0.62, 0.6, 0.62),
            "greeting": task(0.0, 0.0, 0.99, 0.97, 0.98),
        },
        reward_model=RewardModelSummary(
            pair_accuracy=0.708, length_baseline=0.642, ceiling=0.81, n=400
        ),
        ppo=preference(0.733, 0.712, 0.753, 2.74),
        ppo_ptx=preference(0.701, 0.678, 0.724, 2.31),
        tax=Tax(base=2.412, sft=2.473, ppo=2.498, ppo_ptx=2.471),
        seed=0,
        commit=COMMIT,
        machine="2 × Intel Xeon @ 2.80 GHz, 23 GiB, Linux",
    )


def write_run(path: Path, stage: str, metrics: list[dict], **manifest: object) -> None:
    path.mkdir(parents=True)
    inputs = {"init_from": "ab12" * 16}
    fields = {"stage": stage, "finished": True, "commit": COMMIT, "inputs": inputs, **manifest}
    (path / "manifest.json").write_text(json.dumps(fields))
    (path / "metrics.jsonl").write_text("".join(json.dumps(m) + "\n" for m in metrics))


def loss_metrics(
    steps: int, start: float, end: float, seed: int, names: tuple[str, ...]
) -> list[dict]:
    rng = np.random.default_rng(seed)
    lines = []
    for step in range(1, steps + 1):
        level = end + (start - end) * math.exp(-7 * step / steps)
        losses = {n: level + 0.3 * i + rng.normal(scale=0.08) for i, n in enumerate(names)}
        lines.append({"step": step, **losses, "lr": 1e-3, "step_s": 0.2})
    return lines


def ppo_metrics(updates: int, reach: float, seed: int, beta: float, ptx: bool) -> list[dict]:
    """Proxy and gold as functions of d = sqrt(KL) in the shape of arXiv:2210.10760."""
    rng = np.random.default_rng(seed)
    lines = []
    for step in range(1, updates + 1):
        done = step / updates
        kl = reach * (1 - math.exp(-3 * done))
        d = math.sqrt(kl)
        line = {
            "step": step,
            "kl_nats": kl + rng.normal(scale=0.02) * kl,
            "reward_mean": -0.1 + 0.85 * d * (1 - 0.06 * d) + rng.normal(scale=0.06),
            "gold_mean": -0.15 + 0.62 * d - 0.16 * d * d + rng.normal(scale=0.05),
            "entropy_nats": 2.9 - 0.8 * done + rng.normal(scale=0.05),
            "clip_share": 0.05 + 0.04 * done + rng.normal(scale=0.008),
            "response_tokens_mean": 11 + 4.2 * done + rng.normal(scale=0.4),
            "beta": beta,
            "ratio_max": 1.5 + rng.gamma(2.0, 0.2),
            "explained_variance": 0.7 * (1 - math.exp(-6 * done)) + rng.normal(scale=0.05),
            "value_loss": 0.3 + 0.4 * math.exp(-6 * done) + rng.normal(scale=0.03),
        }
        lines.append(line | ({"ptx_loss_nats": 4.1 - 0.05 * done} if ptx else {}))
    return lines


def make_reward_page() -> dict:
    rng = np.random.default_rng(0)
    names = ("constraint", "fluency", "no repetition", "length", "ending", "language")
    weights = (0.35, 0.2, 0.15, 0.15, 0.1, 0.05)
    parts = {name: rng.normal(size=(400, 4)) for name in names}
    gold = sum(w * parts[n] for w, n in zip(weights, names, strict=True)) / 0.46
    seen = 0.9 * parts["fluency"] + 1.1 * parts["length"] + 0.2 * parts["ending"]
    scores = 0.9 * (0.5 * seen + 0.4 * gold + rng.normal(scale=0.5, size=gold.shape))
    labels = gold + 0.7 * rng.gumbel(size=gold.shape)
    data = RankedScores(
        scores=scores,
        ranks=(-labels).argsort(axis=1).argsort(axis=1).astype(float),
        lengths=np.round(12 + 3 * parts["length"]),
        gold=gold,
        features=parts,
    )
    return reward_report(data, ceiling=0.81, draws=200)


def make_best_of_n() -> dict:
    rng = np.random.default_rng(1)
    proxy = rng.normal(scale=0.9, size=(200, 32))
    gold = 0.45 * proxy + rng.normal(scale=0.9, size=proxy.shape) - 0.15
    points = best_of_n(proxy - 0.1, gold, [1, 2, 4, 8, 16, 32], draws=200)
    return {"points": [point.to_dict() for point in points]}


SAMPLES = [
    {
        "prompt": "用“春天”写一句话。",
        "base": "春天的人民共和国的规定，由国务院制定。",
        "sft": "春天来了，花开了。",
        "ppo": "春天到了，花园里的花都开了，我们一起去看花。",
        "ppo_ptx": "春天来了，我和朋友去公园看花。",
    },
    {
        "prompt": [
            {"role": "user", "content": "My name is Ada."},
            {"role": "assistant", "content": "Nice to meet you, Ada."},
            {"role": "user", "content": "What is my name?"},
        ],
        "base": "What is the name of the name of the file descriptor",
        "sft": "Your name is Ada.",
        "ppo": "Your name is Ada, and I am glad to meet you.",
        "ppo_ptx": "Your name is Ada.",
    },
    {"prompt": "Escape <b>this</b>", "base": None, "sft": "<script>alert(1)</script>", "ppo": "&"},
]


def write_quickstart(path: Path) -> Path:
    write_summary(make_summary(), path / "summary.json")
    write_run(path / "prepare", "prepare", [])
    write_run(path / "pretrain", "pretrain", loss_metrics(1480, 8.3, 4.1, 1, ("loss",)))
    names = ("chat_loss", "document_loss")
    write_run(path / "sft", "sft", loss_metrics(900, 4.0, 0.9, 2, names))
    write_run(path / "reward", "reward", loss_metrics(100, 0.75, 0.58, 3, ("loss",)))
    write_run(path / "ppo", "ppo", ppo_metrics(60, 2.9, 4, 0.2, ptx=False))
    write_run(path / "ppo-ptx", "ppo", ppo_metrics(60, 2.5, 5, 0.2, ptx=True))
    write_run(path / "ppo-beta-0", "ppo", ppo_metrics(60, 22.0, 6, 0.0, ptx=False))
    evaluation = path / "evaluation"
    evaluation.mkdir()
    (evaluation / "samples.json").write_text(json.dumps(SAMPLES))
    (evaluation / "reward_model.json").write_text(json.dumps(make_reward_page()))
    (evaluation / "best_of_n.json").write_text(json.dumps(make_best_of_n()))
    return path


@pytest.fixture(scope="session")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_quickstart(tmp_path_factory.mktemp("quickstart"))
