"""The report on what a model knows: time, losses, bits per byte, tasks, samples, lineage."""

from __future__ import annotations

from collections.abc import Mapping

from jielong.evaluation import plots
from jielong.evaluation.markup import (
    Column,
    Markup,
    bar,
    duration,
    element,
    figure,
    fixed,
    join,
    legend,
    note,
    quantity,
    section,
    signed,
    table,
)
from jielong.evaluation.report_data import TITLES, Material, Run
from jielong.evaluation.summary import TaskScore

MODELS = {"base": "base", "sft": "sft", "ppo": "ppo", "ppo_ptx": "ppo-ptx"}
"""The summary's name of each compared model, and its colour."""


def title_of(model: str) -> str:
    """A compared model's name as shown."""
    return TITLES[model.replace("_", "-")]


def time_section(material: Material) -> Markup:
    """Seconds, steps and tokens of each stage."""
    if not material.summary or not material.summary.stages:
        return Markup()
    stages = material.summary.stages
    longest = max(cost.seconds for cost in stages.values()) or 1.0
    rows = []
    for name, cost in stages.items():
        run = Run(name.replace("_", "-"), {}, ())
        speed = quantity(cost.tokens / cost.seconds, "/s") if cost.tokens and cost.seconds else None
        rows.append(
            [
                run.title,
                bar(cost.seconds / longest, run.colour),
                duration(cost.seconds),
                f"{cost.steps:,}",
                quantity(cost.tokens) if cost.tokens else None,
                speed,
            ]
        )
    columns = [Column("Stage", ""), Column("", "wide"), Column("Time"), Column("Steps")]
    total = f"Training took {duration(material.summary.train_seconds)} in all."
    return section(
        "Training time",
        "训练用时",
        note(total),
        table([*columns, Column("Tokens"), Column("Tokens/s")], rows),
    )


def loss_section(material: Material) -> Markup:
    """One panel of losses a run; PPO's are in its own section."""
    panels = []
    for run in material.runs:
        keys = [] if run.has("kl_nats") else _losses(run)
        if not keys:
            continue
        lines = []
        for place, key in enumerate(keys[:2]):
            x, y = run.series(key)
            lines.append(plots.Line(x, y, run.colour, dashed=place > 0))
        names = [key.removesuffix("_nats").removesuffix("loss").strip("_") for key in keys[:2]]
        what = f": {names[0]}, {names[1]} (dashed)" if names[1:] else ""
        panels.append(plots.Panel(run.title + what, lines, x_label="step"))
    if not panels:
        return Markup()
    text = "Mean loss of each optimizer step, in nats; the faint line is the raw value."
    svg = plots.panels("losses", panels, columns=2 if len(panels) < 3 else 3)
    return section("Loss", "损失", note(text), figure(svg))


def _losses(run: Run) -> list[str]:
    mine = [key for key in run.keys() if key.endswith(("loss", "loss_nats"))]  # noqa: SIM118
    return [key for key in mine if not key.startswith(("policy_", "value_"))]


def bits_section(material: Material) -> Markup:
    """The base model's bits per byte beside the n-grams and xz."""
    if not material.summary or not material.summary.bits_per_byte:
        return Markup()
    bits = material.summary.bits_per_byte
    rivals = [
        ("5-gram, same tokens", bits.ngram, "rival"),
        ("5-gram, whole corpus", bits.ngram_all, "rival"),
        ("xz −9e, held-out text alone", bits.xz, "rival"),
        ("xz −9e after the training text", bits.xz_after_training_text, "rival"),
    ]
    values = [("This model", bits.model, "base")]
    values += [(label, value, colour) for label, value, colour in rivals if value is not None]
    text = "Held-out documents; lower is better. An n-gram is what a neural model has to beat."
    parts = [note(text), figure(plots.value_bars("bits", values, "bits per byte"))]
    if bits.by_language:
        found = {name: None for row in bits.by_language.values() for name in row}
        names = {"model": "This model", "ngram": "5-gram", "ngram_all": "5-gram, all", "xz": "xz"}
        columns = [Column("Language", ""), *(Column(names.get(name, name)) for name in found)]
        rows = [
            [language, *(fixed(row.get(name)) for name in found)]
            for language, row in sorted(bits.by_language.items())
        ]
        parts.append(table(columns, rows))
    return section("Bits per byte", "每字节比特数", *parts)


def task_section(material: Material) -> Markup:
    """Held-out accuracy of each task family, for each model, with chance."""
    if not material.summary or not material.summary.tasks:
        return Markup()
    tasks = material.summary.tasks
    shown = [model for model in MODELS if any(_of(t, model) is not None for t in tasks.values())]
    groups = {
        family.replace("_", " "): {MODELS[m]: _of(task, m) or 0.0 for m in shown}
        for family, task in tasks.items()
    }
    chances = {family.replace("_", " "): task.chance for family, task in tasks.items()}
    colours = [(title_of(model), MODELS[model], "") for model in shown]
    columns = [Column("Family", ""), Column("Chance"), *(Column(title_of(m)) for m in shown)]
    rows = []
    for family, task in tasks.items():
        values = [fixed(_of(task, model)) for model in shown]
        rows.append(
            [family.replace("_", " "), fixed(task.chance), *values, str(task.n), task.decoding]
        )
    return section(
        "Tasks",
        "任务正确率",
        note("Share of held-out items answered right: words that no stage was trained on."),
        legend([*colours, ("chance", "ink", "tick")]),
        figure(plots.grouped_bars("tasks", groups, chances)) if shown else Markup(),
        table([*columns, Column("Items"), Column("Decoding", "")], rows),
    )


def _of(task: TaskScore, model: str) -> float | None:
    return getattr(task, model)


def tax_section(material: Material) -> Markup:
    """What alignment costs in language: bits per byte of each model."""
    if not material.summary or not material.summary.tax:
        return Markup()
    tax = material.summary.tax
    values = {model: getattr(tax, model) for model in MODELS}
    bars = [(title_of(m), value, MODELS[m]) for m, value in values.items() if value is not None]
    rows = [
        [title_of(m), fixed(value), signed(value - tax.base), signed(value - tax.sft)]
        for m, value in values.items()
        if value is not None
    ]
    columns = [
        Column("Model", ""),
        Column("Bits per byte"),
        Column("Over base"),
        Column("Over SFT"),
    ]
    text = (
        "Bits per byte of plain held-out text after each stage. PPO forgets some language to "
        "please the reward model; mixing in pretraining gradients (PPO-ptx) should pay that back."
    )
    plot = figure(plots.value_bars("tax", bars, "alignment tax, bits per byte"))
    return section("Alignment tax", "对齐税", note(text), plot, table(columns, rows))


def sample_section(material: Material) -> Markup:
    """The same prompts answered by each model, side by side."""
    cards = []
    for sample in material.evaluation.get("samples", []):
        answers = [
            element(
                "div",
                element("b", title_of(model)),
                sample[model],
                class_="answer",
                style=f"--colour: var(--{colour})",
            )
            for model, colour in MODELS.items()
            if sample.get(model) is not None
        ]
        prompt = element("p", _prompt(sample.get("prompt", "")), class_="prompt")
        body = element("div", *answers, class_="answers")
        cards.append(element("div", prompt, body, class_="sample"))
    return section("Samples", "样例对照", *cards)


def _prompt(prompt: object) -> Markup:
    """A prompt is text, or the messages of a conversation."""
    if not isinstance(prompt, list):
        return element("span", prompt)
    lines = [f"{message.get('role')}: {message.get('content')}" for message in prompt]
    return element("span", "\n".join(lines) if len(lines) > 1 else prompt[0].get("content"))


def lineage_section(material: Material) -> Markup:
    """What made each run, and from what."""
    rows = [
        [
            run.name,
            run.manifest.get("stage"),
            "yes" if run.manifest.get("finished") else "no",
            element("code", _short(run.manifest.get("commit")), _dirty(run)),
            join(
                [
                    element("span", f"{name} ", element("code", _short(value)))
                    for name, value in _inputs(run.manifest).items()
                ],
                ", ",
            ),
        ]
        for run in material.runs
    ]
    if not rows:
        return Markup()
    columns = [Column(title, "") for title in ("Run", "Stage", "Finished", "Commit", "Made from")]
    text = (
        "Each run directory holds its whole configuration in config.toml; "
        "the hashes are those of the inputs' manifests or files; + marks uncommitted changes."
    )
    return section("Lineage", "来历", note(text), table(columns, rows))


def _dirty(run: Run) -> str:
    return "+" if run.manifest.get("dirty") else ""


def _inputs(manifest: Mapping[str, object]) -> dict[str, object]:
    inputs = manifest.get("inputs")
    return dict(inputs) if isinstance(inputs, Mapping) else {}


def _short(value: object) -> str:
    return str(value)[:10] if value else "–"
