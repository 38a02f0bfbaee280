"""The figures of a run's manifest: what came of every source, and what each step let through."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jielong.core.files import sha256_file
from jielong.core.run_dir import MANIFEST
from jielong.data import sources
from jielong.data.pipeline.inputs import FILES
from jielong.data.pipeline.tally import Tally
from jielong.data.pipeline.workspace import WORK
from jielong.data.prepared import SIDES

_DROPPED = "dropped."
_REPEAT, _CAP = "dropped.duplicate.", "dropped.over_cap"
_LATE = ("dropped.quality.", "dropped.decontaminate.")

_STEPS: tuple[tuple[str, str, Callable[[str], bool]], ...] = (
    ("extracted", "clean", lambda rule: not rule.startswith((_REPEAT, _CAP, *_LATE))),
    ("clean", "unique", lambda rule: rule.startswith(_REPEAT)),
    ("unique", "selected", lambda rule: rule.startswith(_LATE)),
    ("selected", "kept", lambda rule: rule == _CAP),
)
"""(what goes in, what comes out, the rules that drop on the way)"""


def report(
    chosen: Sequence[sources.Source], names: Sequence[str], tally: Tally, licence: str
) -> dict[str, dict[str, Any]]:
    """The manifest's figures of every source; `licence` is what the user says of the files."""
    terms = {source.id: _terms(source) for source in chosen}
    terms[FILES] = {"licence": licence}
    return {
        name: terms.get(name, {}) | _figures(name, tally)
        for name in names
        if name != FILES or tally.documents[name, "extracted"]
    }


def _terms(source: sources.Source) -> dict[str, Any]:
    """What the source is and under which terms it came."""
    terms = {
        "licence": source.licence,
        "licence_class": source.licence_class,
        "attribution": source.attribution,
    }
    if source.archive is None:
        return terms
    archive = source.archive
    pin = {"pin": archive.pin, "file": archive.file, "sha256": archive.sha256}
    return {**terms, **pin, "members": [path for part in source.parts for path in part.paths]}


def _figures(name: str, tally: Tally) -> dict[str, Any]:
    sizes = {step: tally.size(name, step) for step in ("extracted", "clean", "unique", *SIDES)}
    rules = {
        step.removeprefix("dropped."): tally.size(name, step)
        for step in tally.steps(name, "dropped.")
    }
    masked = {kind: count for (of, kind), count in sorted(tally.masked.items()) if of == name}
    return {"text_sha256": tally.text_sha256(name), **sizes, "dropped": rules, "masked": masked}


def dropped(tally: Tally) -> Counter[str]:
    """How many documents each rule dropped, over all sources."""
    found = tally.totals().items()
    return Counter({s.removeprefix(_DROPPED): n for s, n in found if s.startswith(_DROPPED)})


def funnel(tally: Tally) -> list[dict[str, Any]]:
    """What each step let through, over all sources."""
    counts = tally.totals()
    counts["kept"] = sum(counts[side] for side in SIDES)
    rules = [step for step in sorted(counts) if step.startswith("dropped.")]
    report = []
    for before, after, belongs in _STEPS:
        dropped = {rule.removeprefix("dropped."): counts[rule] for rule in rules if belongs(rule)}
        report.append(
            {
                "name": after,
                "documents_in": counts[before],
                "documents_out": counts[after],
                "dropped": dropped,
            }
        )
    return report


def hashes(folder: Path) -> dict[str, str]:
    """The SHA-256 of every output; what a kill left, or the work in progress, is none."""
    outputs = [*folder.glob("*.json*"), *folder.glob("*/*.jsonl"), *folder.glob("*/*.npy")]
    names = {path.relative_to(folder).as_posix(): path for path in outputs}
    return {
        name: sha256_file(names[name])
        for name in sorted(names)
        if name != MANIFEST and not any(p.startswith(".") or p == WORK for p in Path(name).parts)
    }
