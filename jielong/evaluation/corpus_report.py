"""`stats.html` and a table: what a prepared corpus is made of, what was dropped, and why.

The page needs nothing but itself: styles and figures are inside, there is no script, and every
text of a document is escaped. It quotes the documents, so it is for those who may read them.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from rich.table import Table

from jielong.core.files import write_atomic
from jielong.evaluation import corpus_sections as sections
from jielong.evaluation.corpus_data import Cell, Corpus, gather
from jielong.evaluation.markup import (
    Markup,
    bar,
    element,
    join,
    legend,
    note,
    page,
    percent,
    quantity,
    section,
    tiles,
)

SECTIONS = (
    sections.source_section,
    sections.step_section,
    sections.mixture_section,
    sections.length_section,
    sections.script_section,
    sections.drop_section,
    sections.cluster_section,
    sections.quality_section,
    sections.repetition_section,
    sections.rejected_section,
    sections.licence_section,
)

MANY_EPOCHS = 4.0  # beyond it repeated text teaches little that is new (arXiv:2305.16264)

MANY_REPEATING = 0.01  # of the documents; a few tables and lists are in every corpus


def write_corpus_report(directory: Path, corpus: Corpus) -> Path:
    """Write `stats.html` into a directory; returns its path."""
    path = directory / "stats.html"
    write_atomic(path, render(corpus))
    return path


def render(corpus: Corpus) -> str:
    """The whole page."""
    parts = [_header(corpus), _findings(corpus), _tiles(corpus)]
    parts += [build(corpus) for build in SECTIONS]
    parts.append(_left_out(corpus))
    return page(f"Corpus: {corpus.name}", join(part for part in parts if part), "corpus")


def corpus_table(corpus: Corpus) -> Table:
    """A row for each source and language: what was kept of it, what was dropped and why."""
    lost = _lost(corpus)
    rows = Table(box=None, pad_edge=False, header_style="dim")
    rows.add_column("source", no_wrap=True)
    rows.add_column("language", no_wrap=True)
    for title in ("documents", "MB", "share", "tokens", "dropped"):
        if title != "tokens" or corpus.has_tokens:
            rows.add_column(title, justify="right", no_wrap=True)
    rows.add_column("why")
    for key in _rows(corpus, lost):
        source, lang = key
        cell = corpus.cells.get(key)
        reasons = lost.get(key, Counter())
        name = sections.language_name(lang) if lang else "any"
        rows.add_row(source, name, *_figures(corpus, cell), *_why(reasons))
    whole = Cell(corpus.documents, corpus.bytes, corpus.tokens)
    total = sum((Counter(reasons) for reasons in lost.values()), Counter[str]())
    rows.add_section()
    rows.add_row("all", "", *_figures(corpus, whole), *_why(total), style="bold")
    return rows


def _rows(corpus: Corpus, lost: dict[tuple[str, str], Counter[str]]) -> list[tuple[str, str]]:
    names = {name: place for place, name in enumerate(corpus.source_names())}
    order = {lang: place for place, lang in enumerate(corpus.languages())}
    last = len(names) + len(order)
    return sorted(
        {*corpus.cells, *lost},
        key=lambda k: (names.get(k[0], last), k[0], order.get(k[1], last), k[1]),
    )


def _lost(corpus: Corpus) -> dict[tuple[str, str], Counter[str]]:
    """Drops by source and language; those of unknown language go to the only one there is."""
    spoken: dict[str, list[str]] = {}
    for source, lang in corpus.cells:
        spoken.setdefault(source, []).append(lang)
    lost: dict[tuple[str, str], Counter[str]] = {}
    for name, rule in corpus.rules.items():
        for (source, lang), count in rule.cells.items():
            only = spoken.get(source, [])
            key = (source, lang or (only[0] if len(only) == 1 else ""))
            if count:
                lost.setdefault(key, Counter())[name] += count
    return lost


def _figures(corpus: Corpus, cell: Cell | None) -> list[str]:
    if cell is None:
        return ["–"] * (4 if corpus.has_tokens else 3)
    share = cell.bytes / corpus.bytes if corpus.bytes else 0.0
    figures = [f"{cell.documents:,}", f"{cell.bytes / 1e6:,.2f}", percent(share)]
    return [*figures, f"{cell.tokens:,}"] if corpus.has_tokens else figures


def _why(reasons: Counter[str]) -> list[str]:
    ordered = sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))
    named = [f"{name} {count:,}" for name, count in ordered[:3]]
    more = sum(count for _, count in ordered[3:])
    text = ", ".join([*named, f"others {more:,}"] if more else named)
    return [f"{reasons.total():,}" if reasons else "–", text]


def _header(corpus: Corpus) -> Markup:
    zh = element("span", "语料", lang="zh-Hans")
    facts = [element("span", element("code", corpus.name))]
    commit = corpus.manifest.get("commit")
    facts += [element("span", "commit ", element("code", str(commit)[:12]))] if commit else []
    text = "This page quotes the documents: whoever receives it receives parts of them."
    head = element("h1", "The corpus", zh)
    return element("header", head, element("p", *facts, class_="meta"), note(text))


def _findings(corpus: Corpus) -> Markup:
    concerns, findings = findings_of(corpus)
    english, chinese = (
        ("Have a look", "有几处需要看一看") if concerns else ("All adds up", "账目相符")
    )
    items = [element("li", text, class_="concern") for text in concerns]
    items += [element("li", text) for text in findings]
    level = "look" if concerns else "ok"
    return element(
        "div",
        element("p", "Is this the text I meant to train on?", class_="note"),
        element("h2", english, element("span", chinese, lang="zh-Hans")),
        element("ul", *items),
        class_=f"verdict {level}",
        style=f"--tone: var(--{level})",
    )


def findings_of(corpus: Corpus) -> tuple[list[str], list[str]]:
    """(what a person should look at, what is as it should be), each in a sentence."""
    concerns, findings = [], []
    for side, cell in corpus.sides.items():
        said = [figures.get(side, {}) for figures in corpus.sources.values()]
        documents = sum(found.get("documents", 0) for found in said)
        size = sum(found.get("bytes", 0) for found in said)
        if (documents, size) == (cell.documents, cell.bytes):
            findings.append(f"{side}.jsonl holds what the manifest says, {documents:,} documents.")
        else:
            concerns.append(
                f"{side}.jsonl holds {cell.documents:,} documents and {cell.bytes:,} bytes, the "
                f"manifest says {documents:,} and {size:,}."
            )
    kept = {source for source, _ in corpus.cells}
    for name, figures in corpus.sources.items():
        arrived = figures.get("extracted", {}).get("documents", 0)
        if arrived and name not in kept:
            concerns.append(f"Of {name} nothing was kept: all of {arrived:,} documents went.")
        elif not arrived and name not in kept:
            findings.append(f"{name} gave no running text.")
        epochs = figures.get("epochs")
        if epochs is not None and epochs > MANY_EPOCHS:
            concerns.append(
                f"{name} is read {epochs:.1f} times: more text or less weight is better."
            )
    if corpus.rejected:
        count = corpus.rejected[0]
        if count:
            plural = "piece of input" if count == 1 else "pieces of input"
            concerns.append(f"{count:,} {plural} could not be read: see below.")
        else:
            findings.append("All input could be read.")
    if corpus.repeating:
        share = corpus.repeating / corpus.documents
        said = f"{corpus.repeating:,} documents, {percent(share)}, mostly repeat themselves"
        (concerns if share > MANY_REPEATING else findings).append(f"{said}.")
    return concerns, findings


def _tiles(corpus: Corpus) -> Markup:
    """The figures that a reader looks for first."""
    train = corpus.sides.get("train", Cell())
    held = corpus.sides.get("valid", Cell())
    arrived = sum(f.get("extracted", {}).get("bytes", 0) for f in corpus.sources.values())
    entries = [
        ("Text", quantity(corpus.bytes, "B"), f"{quantity(held.bytes, 'B')} of it held out"),
        ("Documents", f"{corpus.documents:,}", f"{train.documents:,} to train on"),
    ]
    if corpus.has_tokens:
        each = corpus.bytes / (corpus.tokens or 1)
        entries.append(("Tokens", quantity(corpus.tokens), f"{each:.2f} bytes each"))
    if arrived:
        came = f"of {quantity(arrived, 'B')} that came in"
        entries.append(("Kept", percent(corpus.bytes / arrived), came))
    return join([tiles(entries), _languages(corpus)])


def _languages(corpus: Corpus) -> Markup:
    """A strip cut into the shares of the languages."""
    sizes = dict.fromkeys(corpus.languages(), 0)
    for (_, lang), cell in corpus.cells.items():
        sizes[lang] += cell.bytes
    colours = {lang: sections.LANGUAGE_COLOURS.get(lang, "other") for lang in sizes}
    shares = {lang: size / (corpus.bytes or 1) for lang, size in sizes.items()}
    names = {k: f"{sections.language_name(k)} {percent(v)}" for k, v in shares.items()}
    parts = [bar(share, colours[lang]) for lang, share in shares.items()]
    return join(
        [
            element("div", *parts, class_="strip"),
            legend((names[lang], colours[lang], "") for lang in sizes),
        ]
    )


def _left_out(corpus: Corpus) -> Markup:
    """What this page could not show, each with the reason."""
    reasons = []
    if not corpus.manifest.get("funnel"):
        reasons.append("Counts step by step: the manifest lists no steps.")
    if not any(f.get("weight") is not None for f in corpus.sources.values()):
        reasons.append("Size and weight: the sources have no weights, each is read once an epoch.")
    if not corpus.has_dropped:
        reasons.append("Examples of dropped documents: the run has no dropped/*.jsonl.")
    if corpus.clusters is None:
        reasons.append("Clusters of duplicates: the run has no duplicates.jsonl.")
    if corpus.rejected is None:
        reasons.append("What could not be read: the run has no rejected.jsonl.")
    if not corpus.scores["kept"] and not corpus.scores["dropped"]:
        reasons.append("Quality: the documents carry no scores.")
    if not corpus.has_tokens:
        reasons.append("Tokens: no tokenize run of this text is known; name one with --tokens.")
    items = [element("li", reason) for reason in reasons]
    return (
        section("Not shown", "未显示", element("ul", *items, class_="plain")) if items else Markup()
    )


__all__ = ["corpus_table", "findings_of", "gather", "render", "write_corpus_report"]
