"""The ladder's page: the history of language models, each rung measured on the same text.

The page needs nothing but itself: styles and figures are inside, there is no script, and every text
that a model wrote is escaped.
"""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path

from jielong.core.files import write_atomic
from jielong.core.run_dir import read_metrics
from jielong.evaluation import plots
from jielong.evaluation.ladder_summary import LadderSummary, Rung, read_ladder_summary
from jielong.evaluation.markup import (
    Column,
    Markup,
    duration,
    element,
    figure,
    fixed,
    interval,
    join,
    legend,
    note,
    page,
    quantity,
    section,
    table,
)

COLOURS = {"grams": "rival", "lstm": "sft", "gru": "reward", "transformer": "ppo"}
"""The colour of each kind of rung; n-grams share one."""

ORIGINS = {
    "add-k n-gram": "counts; Lidstone 1920",
    "katz n-gram": "counts that back off; Katz 1987",
    "kneser-ney n-gram": "counts, interpolated; Kneser and Ney 1995, Chen and Goodman 1998",
    "lstm": "LSTM; Hochreiter and Schmidhuber 1997",
    "gru": "GRU; Cho et al. 2014",
    "transformer": "transformer; Vaswani et al. 2017",
}
"""What each kind is, and who described it."""


def write_ladder_report(directory: Path) -> Path:
    """Write `report.html` into a ladder's directory from its summary; returns its path."""
    path = directory / "report.html"
    summary = read_ladder_summary(directory)
    curves = {rung.name: _curve(directory / "rungs" / rung.name) for rung in summary.rungs}
    write_atomic(path, render(summary, curves, directory.resolve().name))
    return path


def render(
    summary: LadderSummary, curves: dict[str, tuple[list[float], list[float]]], name: str
) -> str:
    """The whole page; `curves` are (seconds, loss in nats) of each rung that was trained."""
    body = join(
        part
        for part in (
            _header(summary, name),
            bits_section(summary),
            curve_section(summary, curves),
            sample_section(summary),
            nearest_section(summary),
            translation_section(summary),
            dialogue_section(summary),
        )
        if part
    )
    return page(f"Jielong ladder: {name}", body)


def bits_section(summary: LadderSummary) -> Markup:
    """Bits per byte of every rung, as bars and as a table."""
    values = [(rung.name, rung.bits_per_byte, _colour(rung)) for rung in summary.rungs]
    values.append(("knowing nothing", summary.uniform, "rival"))
    languages = sorted({language for rung in summary.rungs for language in rung.by_language})
    columns = [
        *(Column("Rung", ""), Column("What it is", ""), Column("Bits/byte"), Column("95 %")),
        *(Column(language) for language in languages),
        *(Column("Time"), Column("Steps"), Column("Tokens read"), Column("Size")),
    ]
    rows = [
        [
            rung.name,
            ORIGINS[rung.kind],
            fixed(rung.bits_per_byte),
            interval(rung.interval),
            *(fixed(rung.by_language.get(language)) for language in languages),
            duration(rung.seconds),
            f"{rung.steps:,}" if rung.steps else None,
            quantity(rung.tokens),
            quantity(rung.size, f" {rung.unit}"),
        ]
        for rung in summary.rungs
    ]
    text = (
        f"Held-out documents: {quantity(summary.valid_tokens)} tokens, "
        f"{quantity(summary.valid_bytes, 'B')}; lower is better. All learn from the same "
        f"{quantity(summary.train_tokens)} tokens. Each network is trained for about "
        f"{duration(summary.seconds)}; counting takes what it takes."
    )
    svg = plots.value_bars("bits", values, "bits per byte")
    return section("Bits per byte", "每字节比特数", note(text), figure(svg), table(columns, rows))


def curve_section(
    summary: LadderSummary, curves: dict[str, tuple[list[float], list[float]]]
) -> Markup:
    """The loss of the networks as their time passes."""
    trained = [rung for rung in summary.rungs if curves[rung.name][0]]
    if not trained:
        return Markup()
    lines = [plots.Line(*curves[rung.name], _colour(rung)) for rung in trained]
    panel = plots.Panel("training loss, nats a token", lines, x_label="seconds of training")
    colours = [(rung.name, _colour(rung), "") for rung in trained]
    return section(
        "Loss against time",
        "损失与用时",
        note("The same corpus, the same clock; the faint line is the raw value."),
        legend(colours),
        figure(plots.panels("curves", [panel], columns=1)),
    )


def sample_section(summary: LadderSummary) -> Markup:
    """The same beginnings, as each rung goes on."""
    colours = {rung.name: _colour(rung) for rung in summary.rungs}
    cards = [
        _card(sample.prompt, [(name, text, colours[name]) for name, text in sample.texts.items()])
        for sample in summary.samples
    ]
    return section("Samples", "样例", *cards)


def nearest_section(summary: LadderSummary) -> Markup:
    """Word neighbours and analogies, in the vectors of each model."""
    if not summary.nearest:
        return Markup()
    names = list(dict.fromkeys(name for found in summary.nearest for name in found.found))
    rows = [
        [
            found.query,
            *(
                ", ".join(f"{near.token} {near.cosine:.2f}" for near in found.found[name])
                if name in found.found
                else "not a single token"
                for name in names
            ),
        ]
        for found in summary.nearest
    ]
    text = (
        "The nearest tokens by cosine: of word2vec, and of the embeddings that the networks "
        "learned on their way to something else. a − b + c asks: what is to c as a is to b?"
    )
    columns = [Column("Word", ""), *(Column(name, "") for name in names)]
    return section("Word vectors", "词向量", note(text), table(columns, rows))


def translation_section(summary: LadderSummary) -> Markup:
    """Sequence to sequence, with and without attention."""
    if not summary.translators:
        return Markup()
    columns = [
        *(Column("Model", ""), Column("Attention", ""), Column("chrF"), Column("Tokens right")),
        *(Column("Nats/token"), Column("Time"), Column("Steps"), Column("Size")),
    ]
    rows = [
        [
            found.name,
            "yes" if found.attention else "no",
            fixed(found.chrf, 1),
            fixed(found.accuracy),
            fixed(found.nats),
            duration(found.seconds),
            f"{found.steps:,}",
            quantity(found.size),
        ]
        for found in summary.translators
    ]
    cards = [
        _card(
            example.zh,
            [
                ("reference", example.en, "ink"),
                *((name, text, "other") for name, text in example.texts.items()),
            ],
        )
        for example in summary.translations
    ]
    text = (
        f"From Chinese to English, on {summary.pairs} sentences that no translator was shown. "
        "chrF is of greedy translations, 0 to 100; the share of tokens right and the loss are "
        "given the true tokens before each."
    )
    head = (note(text), table(columns, rows))
    return section("Sequence to sequence", "序列到序列", *head, *cards)


def dialogue_section(summary: LadderSummary) -> Markup:
    """The conversation with the rules."""
    turns = [_card(turn.said, [("rules", turn.answer, "other")]) for turn in summary.dialogue]
    text = "Dialogue by a table of rewrite rules: nothing is learned, and nothing is understood."
    return section("Rules", "规则对话", note(text), *turns)


def _header(summary: LadderSummary, name: str) -> Markup:
    zh = element("span", "语言模型的阶梯", lang="zh-Hans")
    commit = summary.commit
    facts = [
        element("span", element("code", name)),
        element("span", summary.machine),
        element("span", f"seed {summary.seed}"),
        *([element("span", "commit ", element("code", commit[:12]))] if commit else []),
    ]
    return element(
        "header",
        element("h1", "The ladder of language models", zh),
        element("p", *facts, class_="meta"),
    )


def _card(prompt: str, answers: list[tuple[str, str, str]]) -> Markup:
    """One prompt, and (who, what, colour) of each answer."""
    boxes = [
        element(
            "div",
            element("b", name),
            text,
            class_="answer",
            style=f"--colour: var(--{colour})",
        )
        for name, text, colour in answers
    ]
    return element(
        "div",
        element("p", prompt, class_="prompt"),
        element("div", *boxes, class_="answers"),
        class_="sample",
    )


def _colour(rung: Rung) -> str:
    return COLOURS[rung.unit if rung.unit == "grams" else rung.kind]


def _curve(run: Path) -> tuple[list[float], list[float]]:
    """Seconds of training so far, and the loss, of each logged step."""
    steps = [line for line in read_metrics(run) if "loss" in line]
    return list(accumulate(line["step_s"] for line in steps)), [line["loss"] for line in steps]
