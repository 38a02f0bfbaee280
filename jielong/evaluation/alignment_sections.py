"""The report's pages on RLHF: reward model, PPO's curves, over-optimisation, win rates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from jielong.evaluation import plots
from jielong.evaluation.language_sections import MODELS, title_of
from jielong.evaluation.markup import (
    Column,
    Markup,
    element,
    figure,
    fixed,
    interval,
    legend,
    note,
    section,
    table,
)
from jielong.evaluation.report_data import Material, Run
from jielong.evaluation.summary import PreferenceSummary

CURVES = (
    (("reward_mean",), "reward", None),
    (("gold_mean",), "noise-free score", None),
    (("kl_nats",), "KL from the reference, nats", 0.0),
    (("return_mean",), "reward − β KL", None),
    (("beta",), "β", None),
    (("entropy_nats",), "entropy a token, nats", None),
    (("response_tokens_mean",), "answer length, tokens", None),
    (("finished_share", "eos_share"), "answers that ended", None),
    (("ratio_max",), "largest ratio", 1.0),
    (("clip_share",), "share of tokens clipped", None),
    (("approx_kl_nats",), "KL of the update, nats", None),
    (("value_loss",), "value loss", None),
    (("explained_variance",), "explained variance", 0.0),
    (("gradient_norm",), "gradient norm", None),
    (("ptx_loss_nats", "ptx_loss"), "ptx loss, nats", None),
    (("ptx_ratio",), "ptx gradient over PPO's", None),
    (("lr",), "learning rate", None),
)


def reward_section(material: Material) -> Markup:
    """The reward model's report, or what the summary says of it."""
    report = material.evaluation.get("reward_model")
    if isinstance(report, Mapping) and "pair_accuracy" in report:
        return _reward_page(report)
    summary = material.summary and material.summary.reward_model
    if not summary:
        return Markup()
    rows = [
        ["Reward model", fixed(summary.pair_accuracy), interval(summary.pair_accuracy_ci)],
        ["Length alone", fixed(summary.length_baseline), None],
        ["Ceiling", fixed(summary.ceiling), None],
    ]
    columns = [Column("", ""), Column("Pairs right"), Column("95 %")]
    return section("Reward model", "奖励模型", table(columns, rows))


def _reward_page(report: Mapping[str, Any]) -> Markup:
    length = report["length"]
    rows = [
        ["Pairs as the labels order them", report["pair_accuracy"]],
        ["Pairs as the noise-free judge orders them", report.get("gold_pair_accuracy")],
        ["Best against worst", report["best_vs_worst"]],
        ["Length alone: longer wins", length["longer_wins"]],
        ["Length alone: logistic fit", length["logistic_accuracy"]],
        ["Length alone, noise-free judge", report.get("gold_length_baseline")],
        ["Log-loss (log 2 = 0.693 is a coin)", report["log_loss"]],
        ["Calibration error, 10 bins", report["calibration_error"]],
        ["Rank correlation with the labels", report["spearman"]],
        ["Rank correlation with length", length["correlation"]],
    ]
    cells = [[name, fixed(v["estimate"]), interval((v["low"], v["high"]))] for name, v in rows if v]
    if report.get("ceiling") is not None:
        cells.insert(2, ["Ceiling of the labels", fixed(report["ceiling"]), None])
    text = (
        f"{report['pairs']:,} pairs of answers to {report['n']:,} held-out prompts; every prompt "
        "weighs the same, and intervals draw all prompts about one word together."
    )
    return section(
        "Reward model",
        "奖励模型",
        note(text),
        table([Column("", ""), Column("Value"), Column("95 %")], cells),
        _reward_plots(report),
        _gap_table(report),
    )


def _reward_plots(report: Mapping[str, Any]) -> Markup:
    plot = figure(plots.reliability("reliability", report["reliability"]))
    features = [
        (name, row["gold"]["estimate"], row["model"]["estimate"])
        for name, row in (report.get("features") or {}).items()
        if row.get("gold") and row.get("model")
    ]
    if not features:
        return plot
    title = "rank correlation with each feature"
    keys = legend(
        [
            ("noise-free judge", "ink", ""),
            ("reward model: what it ignores, PPO will too", "reward", ""),
        ]
    )
    features.sort(key=lambda row: -row[1])
    right = figure(plots.paired_dots("features", features, title))
    return element("div", keys, element("div", plot, right, class_="pair"))


def _gap_table(report: Mapping[str, Any]) -> Markup:
    rows = [
        [
            f"{row['from']:g} – {row['to']:g}"
            if row["to"] is not None
            else f"{row['from']:g} and up",
            f"{row['pairs']:,}",
            fixed(row["accuracy"]),
        ]
        for row in report.get("by_score_gap", [])
    ]
    if not rows:
        return Markup()
    columns = [Column("Score gap", ""), Column("Pairs"), Column("Right")]
    return element("div", element("h3", "Where it is sure, is it right?"), table(columns, rows))


def ppo_section(material: Material) -> Markup:
    """Small multiples of everything PPO logged."""
    runs = list(material.with_metric("kl_nats"))
    runs = [run for run in runs if not _free(run)] or runs  # the others would set every scale
    panels = []
    for keys, title, reference in CURVES:
        lines = []
        for run in runs:
            key = next((key for key in keys if run.has(key)), None)
            if key:
                x, y = run.series(key)
                lines.append(plots.Line(x, y, run.colour, dashed=_free(run)))
        if lines:
            panels.append(plots.Panel(title, lines, reference))
    if not panels:
        return Markup()
    text = (
        "Faint lines are raw values. Sums over an answer are sums, never means over padded tokens."
    )
    plot = figure(plots.panels("ppo-curves", panels))
    return section("PPO", "强化学习曲线", note(text), _run_legend(runs), plot)


def overoptimisation_section(material: Material) -> Markup:
    """Proxy and gold over the square root of KL, for PPO runs and for best-of-n."""
    runs = list(material.with_metric("kl_nats", "reward_mean"))
    sampled = _best_of_n(material.evaluation.get("best_of_n"))
    if not runs and not sampled:
        return Markup()
    panels = []
    titles = {"reward_mean": "proxy: reward model", "gold_mean": "gold: noise-free score"}
    for key, part in (("reward_mean", "proxy"), ("gold_mean", "gold")):
        lines = []
        for run in runs:
            kl, y = run.series(key, x="kl_nats")
            x = [math.sqrt(max(value, 0.0)) for value in kl]
            pairs = sorted(zip(x, y, strict=True))
            if pairs:
                xs, ys = zip(*pairs, strict=True)
                lines.append(plots.Line(xs, ys, run.colour, dashed=_free(run)))
        if sampled:
            x = [math.sqrt(point["kl_nats"]) for point in sampled]
            y = [point[part]["estimate"] for point in sampled]
            lines.append(plots.Line(x, y, "ink", smooth=False, dots=True))
        if lines:
            panels.append(plots.Panel(titles[key], lines, x_label="√KL"))
    extra = [("best of n", "ink", "")] if sampled else []
    text = (
        "Goodhart's law: the reward model's score keeps rising with the distance from SFT, the "
        "score that it stands for does not. Without a KL penalty (β = 0) the policy goes far "
        "enough to show it. Best-of-n buys its gain at a smaller distance, log n − (n−1)/n."
    )
    return section(
        "Over-optimisation",
        "过度优化",
        note(text),
        _run_legend(runs, extra),
        figure(plots.panels("overoptimisation", panels, columns=2)),
        _best_of_n_table(sampled),
    )


def _best_of_n(found: object) -> list[Mapping[str, Any]]:
    points = found.get("points", []) if isinstance(found, Mapping) else found
    return list(points) if isinstance(points, Sequence) else []


def _best_of_n_table(points: Sequence[Mapping[str, Any]]) -> Markup:
    if not points:
        return Markup()
    columns = [Column("Best of"), Column("KL, nats"), Column("Proxy"), Column("Gold")]
    rows = [
        [
            str(point["n"]),
            fixed(point["kl_nats"], 2),
            fixed(point["proxy"]["estimate"]),
            fixed(point["gold"]["estimate"]),
            interval((point["gold"]["low"], point["gold"]["high"])),
        ]
        for point in points
    ]
    return table([*columns, Column("95 %")], rows)


def win_section(material: Material) -> Markup:
    """Win rates against SFT with their intervals."""
    rows = list(material.evaluation.get("win_rates") or []) or _wins_of_summary(material)
    if not rows:
        return Markup()
    marks = []
    for row in rows:
        ends = (row["low"], row["high"]) if row.get("low") is not None else None
        marks.append(plots.Mark(row["name"], row["estimate"], ends, row.get("colour") or "other"))
    columns = [Column("Compared with SFT", ""), Column("Wins"), Column("95 %"), Column("Prompts")]
    cells = [
        [
            mark.label,
            fixed(mark.value),
            interval(mark.ends),
            None if row.get("n") is None else str(row["n"]),
            row.get("decoding") or "",
        ]
        for mark, row in zip(marks, rows, strict=True)
    ]
    text = (
        "How often the answer outscores SFT's answer to the same held-out prompt by the noise-free "
        "scorer, ties counting half, or by the checker "
        "of idiom chains; 95 % intervals from drawing words anew, with all prompts about them."
    )
    return section(
        "Win rate",
        "胜率",
        note(text),
        figure(plots.forest("wins", marks, 0.5, "share of wins against SFT")),
        table([*columns, Column("Decoding", "")], cells),
        _preference_table(material),
    )


def _wins_of_summary(material: Material) -> list[dict[str, Any]]:
    rows = []
    for model, preference in _preferences(material).items():
        name, colour = title_of(model), MODELS.get(model, "other")
        common = {"colour": colour, "n": preference.n}
        low, high = preference.win_rate_ci
        first = {"name": name, "estimate": preference.win_rate, "low": low, "high": high}
        rows.append({**first, **common, "decoding": preference.decoding})
        if preference.length_controlled is not None:
            label = f"{name}, at equal length"
            rows.append({"name": label, "estimate": preference.length_controlled, **common})
        if preference.greedy_win_rate is not None:
            low, high = preference.greedy_win_rate_ci or (None, None)
            row = {"name": f"{name}, greedy", "estimate": preference.greedy_win_rate}
            rows.append({**row, "low": low, "high": high, **common, "decoding": "greedy"})
    return rows


def _preference_table(material: Material) -> Markup:
    preferences = _preferences(material)
    if not preferences:
        return Markup()
    columns = [
        Column("Model", ""),
        Column("KL, nats"),
        Column("Gold, SFT"),
        Column("Gold, aligned"),
    ]
    rows = [
        [title_of(model), fixed(p.kl, 2), fixed(p.gold_sft), fixed(p.gold_ppo)]
        for model, p in preferences.items()
    ]
    return table(columns, rows)


def _preferences(material: Material) -> dict[str, PreferenceSummary]:
    if not material.summary:
        return {}
    found = {name: getattr(material.summary, name) for name in ("ppo", "ppo_ptx", "ppo_chain")}
    return {model: preference for model, preference in found.items() if preference}


def _free(run: Run) -> bool:
    """Runs besides the two of the chain, such as the one without a KL penalty, are dashed."""
    return run.colour == "other"


def _run_legend(runs: Sequence[Run], extra: Sequence[tuple[str, str, str]] = ()) -> Markup:
    entries = [(run.title, run.colour, "dashed" if _free(run) else "") for run in runs]
    return legend([*entries, *extra])
