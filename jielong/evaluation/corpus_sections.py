"""The parts of a corpus report, each from what was gathered; a part without material is empty."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from jielong.evaluation import corpus_plots as plots
from jielong.evaluation.corpus_data import Corpus, Example, Rule
from jielong.evaluation.markup import (
    Column,
    Markup,
    bar,
    element,
    figure,
    fixed,
    join,
    legend,
    note,
    percent,
    quantity,
    section,
    table,
)
from jielong.evaluation.text_measures import RUN, SCRIPTS

LANGUAGES = {"zh": "Chinese", "en": "English", "mixed": "mixed"}
LANGUAGE_COLOURS = {"zh": "ppo", "en": "sft", "mixed": "ppo-ptx"}
SCRIPT_COLOURS: dict[str, str] = dict(
    zip(SCRIPTS, ("ppo", "sft", "other", "base", "rival"), strict=True)
)
FATE_COLOURS = {"trained on": "ppo-ptx", "held out": "sft", "dropped": "rival"}
RULES = {
    "empty": "nothing was left after cleaning",
    "duplicate": "a more trusted source has it, or a paragraph of it, already",
    "over_cap": "more than the recipe asks of this source",
}
_TEXT = 200  # characters of a document that are shown
_UNSHOWABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def language_name(lang: str) -> str:
    """A language as a person says it."""
    return LANGUAGES.get(lang, lang)


def source_section(corpus: Corpus) -> Markup:
    """Each source in each language, and what became of the text that came in."""
    rows = []
    largest = max((cell.bytes for cell in corpus.cells.values()), default=0) or 1
    for source in corpus.source_names():
        cells = [(lang, corpus.cells.get((source, lang))) for lang in corpus.languages()]
        for place, (lang, cell) in enumerate([(k, c) for k, c in cells if c]):
            share = cell.bytes / corpus.bytes if corpus.bytes else 0.0
            row = [
                "" if place else source,
                language_name(lang),
                f"{cell.documents:,}",
                quantity(cell.bytes, "B"),
                percent(share),
                bar(cell.bytes / largest, LANGUAGE_COLOURS.get(lang, "other")),
            ]
            if corpus.has_tokens:
                row += [quantity(cell.tokens), fixed(cell.bytes / (cell.tokens or 1), 2)]
            rows.append(row)
    columns = [Column("Source", ""), Column("Language", ""), Column("Documents"), Column("Text")]
    columns += [Column("Share"), Column("", "wide")]
    columns += [Column("Tokens"), Column("Bytes/token")] if corpus.has_tokens else []
    text = "What was kept, to be trained on or held out. Sizes are bytes of UTF-8."
    return section("Sources", "来源", note(text), table(columns, rows), *_fates(corpus))


def _fates(corpus: Corpus) -> list[Markup]:
    rows, ends = {}, []
    for source, figures in corpus.sources.items():
        sizes = [_bytes(figures, side) for side in ("train", "valid")]
        arrived = _bytes(figures, "extracted")
        if arrived:
            lost = max(0, arrived - sum(sizes))
            rows[source] = dict(zip(FATE_COLOURS, (*sizes, lost), strict=True))
            ends.append(quantity(arrived, "B"))
    if not rows:
        return []
    text = "What became of the text of each source; on the right how much came in."
    svg = plots.shares("fates", rows, FATE_COLOURS, "what became of each source's text", ends)
    colours = [(name, colour, "") for name, colour in FATE_COLOURS.items()]
    return [element("h3", "Kept and dropped"), note(text), legend(colours), figure(svg)]


def _bytes(figures: Mapping[str, Any], step: str) -> int:
    return figures.get(step, {}).get("bytes", 0)


def step_section(corpus: Corpus) -> Markup:
    """The documents that each step of the pipeline let through."""
    steps = corpus.manifest.get("funnel") or ()
    if not steps:
        return Markup()
    bars = [(s["name"], s["documents_in"], s["documents_out"]) for s in steps]
    rows = [
        [
            step["name"],
            f"{step['documents_in']:,}",
            f"{step['documents_out']:,}",
            _reasons(step.get("dropped") or {}) or None,
        ]
        for step in steps
    ]
    columns = [Column("Step", ""), Column("In"), Column("Out"), Column("Dropped, and why", "")]
    text = (
        "Documents after each step, in the order in which they run; the pale end is what it took."
    )
    svg = plots.funnel("steps", bars, "documents after each step")
    return section("Step by step", "逐步", note(text), figure(svg), table(columns, rows))


def _reasons(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{rule} {count:,}" for rule, count in ordered if count)


def length_section(corpus: Corpus) -> Markup:
    """How long documents are, by language."""
    lengths = {
        language_name(lang): np.asarray(corpus.lengths[lang], dtype=np.int64)
        for lang in corpus.languages()
    }
    if not lengths:
        return Markup()
    colours = {language_name(k): LANGUAGE_COLOURS.get(k, "other") for k in corpus.languages()}
    rows = [
        [name, f"{len(values):,}", *(f"{round(q):,}" for q in _quantiles(values))]
        for name, values in lengths.items()
    ]
    titles = ("Documents", "Shortest", "10 % below", "Median", "90 % below", "Longest")
    text = "Characters in a document. The line in each panel is the median."
    svg = plots.length_histograms("lengths", lengths, colours)
    columns = [Column("Language", ""), *map(Column, titles)]
    return section("Lengths", "长度", note(text), figure(svg), table(columns, rows))


def _quantiles(values: np.ndarray) -> list[float]:
    return np.quantile(values, [0, 0.1, 0.5, 0.9, 1]).tolist()


def script_section(corpus: Corpus) -> Markup:
    """What the characters of each source are."""
    rows: dict[str, dict[str, float]] = {}
    for source in corpus.source_names():
        counts = [cell.scripts for (name, _), cell in corpus.cells.items() if name == source]
        total = np.sum(counts, axis=0)
        if total.any():
            rows[source] = dict(zip(SCRIPTS, total.tolist(), strict=True))
    if not rows:
        return Markup()
    text = "Characters by script; spaces count for none, signs count as punctuation."
    svg = plots.shares("scripts", rows, SCRIPT_COLOURS, "characters by script")
    colours = [(script, colour, "") for script, colour in SCRIPT_COLOURS.items()]
    return section("Scripts", "文字", note(text), legend(colours), figure(svg))


def drop_section(corpus: Corpus) -> Markup:
    """Which rules dropped how much, with documents on both sides of each."""
    rules = sorted(corpus.rules.items(), key=lambda pair: (-pair[1].documents, pair[0]))
    if not rules:
        return Markup()
    bars = [
        (name, float(rule.documents), f"{rule.documents:,}  ·  {quantity(rule.bytes, 'B')}")
        for name, rule in rules
    ]
    text = "Documents that each rule dropped, and their size."
    if any(rule.bytes and not rule.documents for _, rule in rules):
        text += " A rule that took no document took parts of some: paragraphs, or spaces."
    svg = plots.counts("rules", bars, "documents dropped by each rule")
    parts = [note(text), figure(svg)]
    if corpus.has_dropped:
        parts.append(element("h3", "Examples"))
        parts.append(
            note(
                "Some that each rule dropped, drawn by chance, beside what was kept of the same "
                "source and is nearest in size. Is the line drawn where you would draw it?"
            )
        )
    parts += [_rule(name, rule, is_open=not place) for place, (name, rule) in enumerate(rules)]
    return section("Why documents were dropped", "为何丢弃", *parts)


def _rule(name: str, rule: Rule, *, is_open: bool) -> Markup:
    where = _origins(rule.cells)
    head = element(
        "summary",
        element("code", name),
        element("span", f"{rule.documents:,} documents, {quantity(rule.bytes, 'B')}"),
    )
    parts = [note(f"{RULES[name][0].upper()}{RULES[name][1:]}.")] if name in RULES else []
    parts += [note(f"From {where}.")] if where else []
    if rule.examples:
        cards = []
        for dropped, kept in rule.examples:
            cards.append(example_card(dropped, "dropped"))
            cards.append(example_card(kept, "kept") if kept else element("div"))
        parts.append(element("div", *cards, class_="pairs"))
    opened = {"open": "open"} if is_open and rule.examples else {}
    return element("details", head, *parts, class_="rule", **opened)


def _origins(cells: Mapping[tuple[str, str], int]) -> str:
    """`laws 12, wordnet (English) 3`."""
    ordered = sorted(cells.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(
        f"{source} ({language_name(lang)}) {count:,}" if lang else f"{source} {count:,}"
        for (source, lang), count in ordered
        if count
    )


def example_card(example: Example, kind: str) -> Markup:
    """One document, "dropped" or "kept": where it is from, and how it begins."""
    facts = [kind, example.source, language_name(example.lang), quantity(example.bytes, "B")]
    return _card(" · ".join(facts), example.detail, example.text, f"card {kind}")


def _card(title: str, detail: str, text: str, kind: str = "card") -> Markup:
    head = element("b", title, element("i", excerpt(detail)) if detail else "")
    return element("div", head, element("p", excerpt(text)), class_=kind)


def excerpt(text: str, most: int = _TEXT) -> str:
    """The beginning of a text, as a page can show it: what is no character becomes U+FFFD."""
    text = re.sub(r"\s*\n\s*", "\n", text.strip())
    cut = text[:most].rstrip()
    return _UNSHOWABLE.sub("\ufffd", cut) + ("…" if len(cut) < len(text) else "")


def cluster_section(corpus: Corpus) -> Markup:
    """Groups of duplicates: how many, how large, and the largest."""
    found = corpus.clusters
    if not found or not found.sizes:
        return Markup()
    total = found.sizes.total()
    extra = sum((size - 1) * count for size, count in found.sizes.items())
    kinds = " and ".join(f"{count:,} {kind}" for kind, count in sorted(found.kinds.items()))
    text = (
        f"{total:,} texts stood there more than once ({kinds}): one of each was kept, "
        f"{extra:,} were dropped."
    )
    bars = [(label, float(n), f"{n:,}") for label, n in _size_bins(found.sizes) if n]
    parts = [note(text), element("h3", "Clusters by size")]
    parts.append(figure(plots.counts("clusters", bars, "clusters by size", "reward")))
    if found.similarities:
        parts.append(element("h3", "How alike the near ones are"))
        parts.append(figure(plots.similarities("similarities", found.similarities)))
    parts.append(element("h3", "The largest"))
    parts += [_cluster(record) for record in found.largest]
    return section("Duplicates", "重复", *parts)


def _size_bins(sizes: Mapping[int, int]) -> Iterable[tuple[str, int]]:
    edges = (2, 3, 4, 5, 10, 20, 50, 100, 1000)
    for low, high in zip(edges, (*edges[1:], None), strict=True):
        inside = (n for size, n in sizes.items() if size >= low and (high is None or size < high))
        single = high is not None and high == low + 1
        label = f"{low:,}" if single else f"{low:,}–{high - 1:,}" if high else f"{low:,} and more"
        yield f"{label} documents", sum(inside)


def _cluster(record: Mapping[str, Any]) -> Markup:
    dropped = record.get("dropped") or ()
    sources: dict[str, int] = {}
    for document in dropped:
        sources[document["source"]] = sources.get(document["source"], 0) + 1
    where = ", ".join(f"{name} {count:,}" for name, count in sorted(sources.items()))
    title = f"{1 + len(dropped):,} documents, {record.get('kind', 'exact')}"
    return _card(title, f"dropped from {where}; kept {record['kept']}", record["text"])


def quality_section(corpus: Corpus) -> Markup:
    """Scores of the quality classifier, and the share that was kept at each."""
    kept, dropped = (np.asarray(corpus.scores[k], dtype=np.float64) for k in ("kept", "dropped"))
    if not len(kept) + len(dropped):
        return Markup()
    alpha = (corpus.manifest.get("quality") or {}).get("alpha")
    text = "What the classifier takes for good text scores near 1. Green was kept, pale was not."
    curve = None
    if isinstance(alpha, int | float):
        scores = np.linspace(0, 1, 101)
        curve = (scores, (2 - scores) ** -float(alpha))
        power = element("sup", f"−{alpha:g}")
        dashed = " Dashed: the chance to be kept, (2 − score)"
        text = join([text, dashed, power, " (arXiv:2005.14165)."], "")
    svg = plots.quality("quality", kept, dropped, curve)
    return section("Quality", "质量", note(text), figure(svg))


def mixture_section(corpus: Corpus) -> Markup:
    """How much of the training each source is, beside how much of the text."""
    weighted = {n: f for n, f in corpus.sources.items() if f.get("weight") is not None}
    total_weight = sum(f["weight"] for f in weighted.values())
    total_bytes = sum(_bytes(f, "train") for f in weighted.values())
    if not total_weight or not total_bytes:
        return Markup()
    bars, rows = [], []
    for name, figures in sorted(weighted.items(), key=lambda pair: -pair[1]["weight"]):
        size = _bytes(figures, "train")
        epochs = figures.get("epochs")
        ends = "" if epochs is None else f"{fixed(epochs, 1)} epochs"
        share, weight = size / total_bytes, figures["weight"] / total_weight
        bars.append((name, share, weight, ends))
        cells = [quantity(size, "B"), percent(share), percent(weight), fixed(epochs, 2)]
        rows.append([name, *cells])
    text = (
        "A source is trained on by its weight and not by its size: a small good one is read often."
    )
    colours = [("share of the text", "base", ""), ("share of the training", "ppo", "")]
    columns = [Column("Source", ""), *map(Column, ("Text", "Share", "Weight", "Epochs"))]
    parts = (legend(colours), figure(plots.weights("mixture", bars)), table(columns, rows))
    return section("Size and weight", "大小与权重", note(text), *parts)


def repetition_section(corpus: Corpus) -> Markup:
    """The kept documents that repeat themselves most."""
    worst = [found for found in corpus.repetitive if found[0] >= 0.01]
    cards = [
        _card(
            f"{percent(share)} repeated · {example.source} · {quantity(example.bytes, 'B')}",
            place,
            example.text,
        )
        for share, place, example in worst
    ]
    if not cards:
        return Markup()
    text = (
        f"Of the documents that were kept, those in which the largest share of runs of {RUN} "
        "characters had stood before. Tables, boilerplate and loops end up here."
    )
    return section("Most repetitive", "最啰嗦", note(text), join(cards))


def rejected_section(corpus: Corpus) -> Markup:
    """Input that could not be read."""
    if not corpus.rejected or not corpus.rejected[0]:
        return Markup()
    count, shown = corpus.rejected
    rows = [
        [element("code", excerpt(str(r.get("file")))), f"{r.get('offset') or 0:,}", r.get("reason")]
        for r in shown
    ]
    text = f"{count:,} in all" + (f"; the first {len(shown)}:" if count > len(shown) else ".")
    columns = [Column("File", ""), Column("At byte"), Column("Reason", "")]
    return section("Could not be read", "无法读取", note(text), table(columns, rows))


def licence_section(corpus: Corpus) -> Markup:
    """Under which terms the text came, and whom to name."""
    rows = [
        [name, f.get("licence"), f.get("attribution"), element("code", f.get("pin") or "–")]
        for name, f in corpus.sources.items()
        if f.get("licence")
    ]
    if not rows:
        return Markup()
    columns = [Column(title, "") for title in ("Source", "Licence", "Attribution", "Pin")]
    return section("Whose text it is", "出处与许可", table(columns, rows))
