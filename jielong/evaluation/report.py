"""`report.html`: one page that answers "is my RLHF ok?" and shows what the answer rests on.

The page needs nothing but itself: styles and figures are inside, there is no script, and every text
that a model or a person wrote is escaped. What was not measured is left out.
"""

from __future__ import annotations

import re
from pathlib import Path

from jielong.core.files import write_atomic
from jielong.core.run_dir import MANIFEST, open_run
from jielong.evaluation import alignment_sections as alignment
from jielong.evaluation import language_sections as language
from jielong.evaluation.ladder_report import write_ladder_report
from jielong.evaluation.markup import Markup, duration, element, fixed, join, page, signed, tiles
from jielong.evaluation.report_data import Material, gather
from jielong.evaluation.verdict import Verdict, judge

SECTIONS = (
    language.time_section,
    language.loss_section,
    language.bits_section,
    language.task_section,
    alignment.reward_section,
    alignment.ppo_section,
    alignment.overoptimisation_section,
    alignment.win_section,
    language.tax_section,
    language.sample_section,
    language.lineage_section,
)

ANSWERS = {
    "ok": ("It looks right", "没有发现问题"),
    "look": ("Have a look", "有几处需要看一看"),
    "broken": ("Something is broken", "有地方坏了"),
}


def write_report(directory: Path) -> Path:
    """Write `report.html` into a run's or a quickstart's directory; returns its path."""
    if (directory / MANIFEST).exists() and open_run(directory).manifest.get("stage") == "ladder":
        return write_ladder_report(directory)
    path = directory / "report.html"
    write_atomic(path, render(gather(directory)))
    return path


def render(material: Material) -> str:
    """The whole page."""
    body = join(
        part
        for part in (
            _header(material),
            _verdict(judge(material)),
            _tiles(material),
            *(build(material) for build in SECTIONS),
        )
        if part
    )
    return page(f"Jielong report: {material.name}", body)


def _header(material: Material) -> Markup:
    zh = element("span", "训练报告", lang="zh-Hans")
    facts = [element("span", element("code", material.name))]
    if material.summary:
        commit = material.summary.commit
        facts.append(element("span", material.summary.machine))
        facts.append(element("span", f"seed {material.summary.seed}"))
        facts += [element("span", "commit ", element("code", commit[:12]))] if commit else []
    return element(
        "header", element("h1", "Jielong report", zh), element("p", *facts, class_="meta")
    )


def _verdict(verdict: Verdict | None) -> Markup:
    if verdict is None:
        return Markup()
    english, chinese = ANSWERS[verdict.level]
    zh = element("span", chinese, lang="zh-Hans")
    items = [element("li", _numbers(text), class_="concern") for text in verdict.concerns]
    items += [element("li", _numbers(text)) for text in verdict.findings]
    return element(
        "div",
        element("p", "Is my RLHF ok?", class_="note"),
        element("h2", english, zh),
        element("ul", *items),
        class_=f"verdict {verdict.level}",
        style=f"--tone: var(--{verdict.level})",
    )


def _numbers(text: str) -> str:
    return re.sub(r"(?<![\w.])-(?=\d)", "−", text)


def _tiles(material: Material) -> Markup:
    """The figures that a reader looks for first."""
    summary = material.summary
    if not summary:
        return Markup()
    memory = f"{summary.peak_rss_bytes / 2**30:.2f} GiB of memory at most"
    entries = [("Training time", duration(summary.train_seconds), memory)]
    bits = summary.bits_per_byte
    if bits:
        rival = f"5-gram {fixed(bits.ngram)}" if bits.ngram is not None else ""
        entries.append(("Bits per byte", fixed(bits.model) or "", rival))
    model = summary.reward_model
    if model:
        rival = f"of pairs right; length alone {fixed(model.length_baseline)}"
        entries.append(("Reward model", fixed(model.pair_accuracy) or "", rival))
    for name, preference in (("PPO", summary.ppo), ("PPO-ptx", summary.ppo_ptx)):
        if preference:
            low, high = preference.win_rate_ci
            ends = f"wins against SFT [{fixed(low)}, {fixed(high)}]"
            entries.append((name, fixed(preference.win_rate) or "", ends))
    tax = summary.tax
    if tax and tax.ppo_ptx is not None:
        rest = f"bits per byte, PPO-ptx over SFT; PPO {signed(_over(tax.ppo, tax.sft))}"
        entries.append(("Alignment tax", signed(tax.ppo_ptx - tax.sft) or "", rest))
    return tiles(entries)


def _over(value: float | None, base: float) -> float | None:
    return None if value is None else value - base
