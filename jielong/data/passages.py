"""Have I seen this? Where a passage occurs in a prepared corpus, answered from an index.

Compared is the form that deduplication compares: letters and digits in one width and one case, so
a quotation is found whatever its punctuation. The index, `passages.sqlite` beside the documents,
lists for each run of three characters the documents that hold it (SQLite's FTS5 with its trigram
tokenizer, without the text and without positions) and where each document's line begins. A search
intersects the lists of the passage's trigrams, then reads the lines that are left to make sure, up
to a limit: a short passage that stands nowhere may be made of trigrams that stand everywhere.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from rich.text import Text

from jielong.core.errors import DataError, StorageError
from jielong.core.files import atomic_writer, canonical_json, sha256_file
from jielong.core.progress import progress, say
from jielong.core.run_dir import RunDir
from jielong.data.dedup import comparison_form
from jielong.data.prepared import DOCUMENT_KEYS, document_files, read_lines

INDEX = "passages.sqlite"
RUN = 13  # characters: what must be shared to count as near, the length used for contamination

_FORMAT = 1
_EDGE = "  "  # after each text, so that its last characters begin a trigram too
_MOST_READ = 5000  # documents that are read for whole matches: about two seconds' work
_CONTEXT = 60  # characters shown on each side
_WHOLE = 400  # characters of a passage that are shown before its middle is left out
_ASKED = 64  # trigrams of a long passage that are looked up
_RARE = 24  # trigrams that vote for near matches
_READ = 20  # documents that are read for near matches
_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA secure_delete = OFF;
PRAGMA auto_vacuum = FULL;
PRAGMA cache_size = -65536;
CREATE TABLE meta (fingerprint TEXT);
CREATE TABLE documents (number INTEGER PRIMARY KEY, file TEXT, line INTEGER, offset INTEGER);
CREATE VIRTUAL TABLE passages USING fts5(
    form, content = '', detail = none, columnsize = 0, tokenize = 'trigram case_sensitive 1');
CREATE VIRTUAL TABLE frequencies USING fts5vocab(passages, row);
CREATE VIRTUAL TABLE instances USING fts5vocab(passages, instance);
"""


@dataclass(frozen=True, kw_only=True)
class Hit:
    """One document that holds the passage, or a part of it, in its own spelling."""

    file: str
    line: int
    id: str
    source: str
    lang: str
    before: str
    passage: str
    after: str
    times: int
    share: float  # of the passage's runs of RUN characters that the document holds


@dataclass(frozen=True)
class Found:
    """The answer: whole passages, or where none is, documents that share runs of it."""

    hits: tuple[Hit, ...]
    near: tuple[Hit, ...]
    more: bool  # whether further documents hold the passage
    unread: int = 0  # documents that may hold it too, but were not read


def find(run: RunDir, passage: str, limit: int) -> Found:
    """Where a passage occurs, at most `limit` documents, in the order of the corpus.

    Builds the index when there is none, or when the documents are others than it was made of.
    Raises `DataError` when the passage holds neither letters nor digits.
    """
    form = comparison_form(passage)
    if not form:
        raise DataError(f"text: {passage!r}: has no letter or digit to look for: give some words")
    with closing(_open(run)) as base:
        hits: list[Hit] = []
        candidates, unread = _candidates(base, form), 0
        for number in islice(candidates, _MOST_READ):
            hit = _read(run, base, number, form)
            if hit:
                hits.append(hit)
            if len(hits) > limit:
                break
        else:
            unread = sum(1 for _ in candidates)
        near = () if hits else _near(run, base, form, limit)
    return Found(tuple(hits[:limit]), near, more=len(hits) > limit, unread=unread)


def describe(found: Found) -> Text:
    """The answer as a person reads it: for each document its place, then the passage in context."""
    lines = [_described(hit) for hit in found.hits or found.near]
    if found.more:
        lines.append(Text("There are more: -k N shows N of them.", style="dim"))
    if found.unread:
        unread = f"Not read: {found.unread:,} more documents that may hold this: give more words."
        lines.append(Text(unread, style="dim"))
    which = "None of the first documents" if found.unread else "No document"
    if found.near:
        lines.insert(0, Text(f"{which} holds this. These come near:"))
    elif not found.hits:
        lines.insert(0, Text(f"{which} holds this, and none comes near."))
    return Text("\n").join(lines)


def _described(hit: Hit) -> Text:
    facts = [hit.source, hit.lang, hit.id]
    facts += [f"{hit.times} times"] if hit.times > 1 else []
    facts += [f"{hit.share:.0%} of the passage"] if hit.share < 1 else []
    text = Text(f"{hit.file}:{hit.line}", style="bold")
    text.append(f"  {'  '.join(facts)}", style="not bold dim")
    passage = hit.passage
    if len(passage) > _WHOLE:
        passage = f"{passage[: _WHOLE // 2]} […] {passage[-_WHOLE // 2 :]}"
    return text.append_text(
        Text.assemble("\n    ", hit.before, (passage, "reverse"), hit.after, style="not bold")
    )


def build(run: RunDir) -> Path:
    """Write the index of a run's documents, whole or not at all; returns its path.

    Raises `StorageError` when the disk refuses, `DataError` when a document is damaged.
    """
    path = run.path / INDEX
    files = document_files(run)
    total = sum(file.stat().st_size for file in files)
    say(f"indexing {total / 1e6:,.1f} MB, once -> {path}")
    try:
        # The connection is closed, and so has written all, before the file is synced and renamed.
        with atomic_writer(path) as file, closing(_connect(Path(file.name), "rw")) as base:
            base.executescript(_SCHEMA)
            base.execute("BEGIN")
            base.execute("INSERT INTO meta VALUES (?)", [_fingerprint(run)])
            _fill(base, files, total)
            base.execute("COMMIT")
    except (StorageError, sqlite3.Error) as error:
        reason = "no FTS5 trigrams" if "trigram" in str(error) else error.__cause__ or error
        raise StorageError(
            f"{path}: the index cannot be written ({reason}): free some space, make the directory "
            "writable, or use a Python whose SQLite is 3.34 or later"
        ) from error
    return path


def _fill(base: sqlite3.Connection, files: list[Path], total: int) -> None:
    number = 0
    with progress("indexing, MB", total / 1e6) as bar:
        for path in files:
            shown = 0
            for line in read_lines(path, DOCUMENT_KEYS):
                number += 1
                place = (number, path.name, line.number, line.offset)
                base.execute("INSERT INTO documents VALUES (?, ?, ?, ?)", place)
                form = comparison_form(line.record["text"]) + _EDGE
                base.execute("INSERT INTO passages (rowid, form) VALUES (?, ?)", (number, form))
                if line.end - shown > 1e6:
                    bar.advance((line.end - shown) / 1e6)
                    shown = line.end
            bar.advance((path.stat().st_size - shown) / 1e6)
        base.execute("INSERT INTO passages (passages) VALUES ('optimize')")


def _open(run: RunDir) -> sqlite3.Connection:
    path = run.path / INDEX
    if _stored(path) != _fingerprint(run):
        build(run)
    return _connect(path, "ro")


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode={mode}", uri=True, isolation_level=None)


def _stored(path: Path) -> str | None:
    """The fingerprint of what the index was made of; None for no index, and for half of one."""
    try:
        with closing(_connect(path, "ro")) as base:
            return base.execute("SELECT fingerprint FROM meta").fetchone()[0]
    except (sqlite3.Error, TypeError):
        return None


def _fingerprint(run: RunDir) -> str:
    """The hashes of the documents, which the manifest knows, and their sizes, which are quick."""
    outputs = run.manifest.get("outputs") or {}
    files = {
        path.name: [outputs.get(f"documents/{path.name}") or sha256_file(path), path.stat().st_size]
        for path in document_files(run)
    }
    return canonical_json([_FORMAT, files])


def _candidates(base: sqlite3.Connection, form: str) -> Iterator[int]:
    """The documents that hold the passage's trigrams, in order; some may hold them scattered."""
    if len(form) < 3:
        query = "SELECT DISTINCT doc FROM instances WHERE term >= ? AND term < ? ORDER BY doc"
        found = base.execute(query, [form, form + chr(0x10FFFF)])
    else:
        asked = " AND ".join(f'"{trigram}"' for trigram in _spread(_trigrams(form), _ASKED))
        query = "SELECT rowid FROM passages WHERE passages MATCH ? ORDER BY rowid"
        found = base.execute(query, [asked])
    return (number for (number,) in found)


def _trigrams(form: str) -> list[str]:
    return list(dict.fromkeys(form[i : i + 3] for i in range(len(form) - 2)))


def _spread(items: list[str], most: int) -> list[str]:
    """At most so many items, evenly from the whole list."""
    step = max(1, -(-len(items) // most))
    return items[::step]


def _near(run: RunDir, base: sqlite3.Connection, form: str, limit: int) -> tuple[Hit, ...]:
    """Documents that share runs of the passage, most first: its rare trigrams vote for them."""
    if len(form) < RUN:
        return ()
    counts = {}
    for trigram in _spread(_trigrams(form), 4 * _ASKED):
        row = base.execute("SELECT doc FROM frequencies WHERE term = ?", [trigram]).fetchone()
        if row:
            counts[trigram] = row[0]
    votes: Counter[int] = Counter()
    for trigram in sorted(counts, key=lambda found: (counts[found], found))[:_RARE]:
        query = "SELECT rowid FROM passages WHERE passages MATCH ?"
        votes.update(number for (number,) in base.execute(query, [f'"{trigram}"']))
    chosen = sorted(votes, key=lambda number: (-votes[number], number))[:_READ]
    hits = filter(None, (_read(run, base, number, form, part=True) for number in chosen))
    return tuple(sorted(hits, key=lambda hit: (-hit.share, hit.file, hit.line))[:limit])


def _read(
    run: RunDir, base: sqlite3.Connection, number: int, form: str, *, part: bool = False
) -> Hit | None:
    """A document if it holds the passage, or with `part` its longest stretch of shared runs."""
    query = "SELECT file, line, offset FROM documents WHERE number = ?"
    file, line, offset = base.execute(query, [number]).fetchone()
    path = run.path / "documents" / file
    record = next(read_lines(path, DOCUMENT_KEYS, offset)).record
    text = record["text"]
    whole = comparison_form(text)
    needle, share = form, 1.0
    if form not in whole:
        needle, share = _stretch(form, whole) if part else ("", 0.0)
    if not needle:
        return None
    start, end = _place(text, whole.index(needle), len(needle))
    return Hit(
        file=f"documents/{file}",
        line=line,
        id=record["id"],
        source=record["source"],
        lang=record["lang"],
        before=_line(("…" if start > _CONTEXT else "") + text[max(0, start - _CONTEXT) : start]),
        passage=_line(text[start:end]),
        after=_line(text[end : end + _CONTEXT] + ("…" if end + _CONTEXT < len(text) else "")),
        times=whole.count(needle),
        share=share,
    )


def _stretch(form: str, whole: str) -> tuple[str, float]:
    """The longest part of `form` that stands in `whole`, and the share of runs that do."""
    held = [form[i : i + RUN] in whole for i in range(len(form) - RUN + 1)]
    best, begin = (0, 0), 0
    for i, is_held in enumerate([*held, False]):
        if not is_held:
            best = max(best, (i - begin, -begin))
            begin = i + 1
    length, start = best[0], -best[1]
    return (form[start : start + length + RUN - 1] if length else ""), sum(held) / len(held)


def _place(text: str, index: int, length: int) -> tuple[int, int]:
    """Where `length` characters of the comparison form, from `index` on, stand in `text`.

    The form only grows with the text, so the place is found by halving.
    """
    start = bisect_right(range(len(text)), index, key=lambda i: len(comparison_form(text[: i + 1])))
    end = bisect_left(
        range(len(text) + 1), index + length, key=lambda i: len(comparison_form(text[:i]))
    )
    return start, end


def _line(text: str) -> str:
    """Text for one line of a terminal: no line ends, and no codes that a terminal obeys."""
    return "".join(character if character.isprintable() else " " for character in text)
