"""A finished prepare run, written by hand: its figures are counted here, by other code."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

Record = Mapping[str, object]

STORY = (
    "清早，小船离开码头。船上只有三个人：老人、孩子和一只不肯安静的鹅。\n"
    "孩子问：“我们要去哪里？”老人说：“到河的那一边，去看看雾散了没有。”"
)
LETTER = (
    "Dear Wen, the kettle you sent arrived on Tuesday. It whistles in B flat, which my neighbour "
    "(who plays the oboe) finds “most instructive”."
)
MIXED = "“雾”读作 wù，英语是 fog。Its opposite, on a good day, is 晴。"


def documents() -> dict[str, list[Record]]:
    """Two sources in three languages; the last line of `train` goes round in circles."""
    train = [
        record("zh-1", "tales", "zh", STORY),
        record("en-1", "letters", "en", LETTER),
        record("mix-1", "tales", "mixed", MIXED),
    ]
    train += [record(f"zh-{n}", "tales", "zh", _report(n)) for n in range(2, 30)]
    train += [record(f"en-{n}", "letters", "en", _note(n)) for n in range(2, 20)]
    train.append(record("loop", "letters", "en", "Row the boat again and again. " * 40))
    valid = [record("zh-v", "tales", "zh", _report(99)), record("en-v", "letters", "en", _note(99))]
    return {"train": train, "valid": valid}


def record(id: str, source: str, lang: str, text: str) -> Record:
    """One line of `documents/*.jsonl`."""
    return {"id": id, "source": source, "lang": lang, "text": text}


def _report(number: int) -> str:
    return "。".join(f"第{number}号驿站在{day}日收到{number * day}封信" for day in range(1, number))


def _note(number: int) -> str:
    lines = (f"On day {day} lamp {number} burned {number + day} hours" for day in range(number))
    return ".\n".join(lines)


def dropped() -> list[Record]:
    """Seven drops of two rules, one of them hostile to pages."""
    texts = ["Ding!", "Dong.", "<script>alert('drop')</script>", "叮。", "当。", "Ping?"]
    short = [drop(f"d{n}", "letters", "en", "heuristics.too_short", t) for n, t in enumerate(texts)]
    odd = "Bonjour \u202e le \x00 monde \ud800" + "!" * 500
    return [*short, drop("d9", "tales", "fr", "language.fr", odd[:400])]


def drop(id: str, source: str, lang: str, rule: str, text: str) -> Record:
    """One line of `dropped/*.jsonl`."""
    size = len(text.encode(errors="surrogatepass"))
    facts = {"id": id, "source": source, "lang": lang, "rule": rule, "bytes": size}
    return {**facts, "detail": f"{len(text)} characters", "text": text}


def clusters() -> list[Record]:
    """One cluster of four near duplicates, one of two exact ones."""
    near = [{"id": f"n{n}", "source": "letters", "jaccard": 0.8 + n / 20} for n in range(3)]
    exact = [{"id": "x1", "source": "tales", "jaccard": 1.0}]
    return [
        {"kept": "en-1", "dropped": near, "kind": "near", "text": LETTER[:200]},
        {"kept": "zh-1", "dropped": exact, "kind": "exact", "text": STORY[:200]},
    ]


def write_prepared(
    path: Path,
    sides: Mapping[str, Iterable[Record]] | None = None,
    *,
    whole: bool = True,
    **manifest: object,
) -> Path:
    """A finished run; with `whole`, beside its documents all that tells what became of the rest."""
    sides = {side: list(records) for side, records in (sides or documents()).items()}
    outputs = {}
    for side, records in sides.items():
        file = path / "documents" / f"{side}.jsonl"
        outputs[f"documents/{side}.jsonl"] = write_lines(file, records)
    if whole:
        write_lines(path / "dropped" / "part-0.jsonl", dropped(), ascii_only=True)
        write_lines(path / "duplicates.jsonl", clusters())
        fault = {"file": "notes/<b>.txt", "offset": 17, "reason": "not UTF-8"}
        write_lines(path / "rejected.jsonl", [fault])
        manifest = {"funnel": steps(), **manifest}
    fields = {"stage": "prepare", "finished": True, "commit": "ab12" * 10, "outputs": outputs}
    fields |= {"sources": _sources(sides), **manifest}
    (path / "manifest.json").write_text(json.dumps(fields))
    return path


def write_lines(path: Path, records: Iterable[Record], *, ascii_only: bool = False) -> str:
    """JSON Lines; returns their SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = "".join(json.dumps(r, ensure_ascii=ascii_only) + "\n" for r in records).encode()
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def steps() -> list[Record]:
    """The manifest's account of the pipeline."""
    clean = {"documents_in": 64, "documents_out": 57, "dropped": {"heuristics.too_short": 6}}
    unique = {"documents_in": 57, "documents_out": 51, "dropped": {"duplicate": 6}}
    return [{"name": "clean", **clean}, {"name": "near_duplicates", **unique}]


def _sources(sides: Mapping[str, list[Record]]) -> dict[str, Record]:
    sources = {}
    for source, weight, epochs in (("tales", 3.0, 4.5), ("letters", 1.0, 0.5)):
        figures = {}
        for side, records in sides.items():
            texts = [str(r["text"]) for r in records if r["source"] == source]
            size = sum(len(text.encode()) for text in texts)
            figures[side] = {"documents": len(texts), "bytes": size}
        documents, size = (sum(f[key] for f in figures.values()) for key in ("documents", "bytes"))
        sources[source] = {
            "licence": "CC0-1.0",
            "attribution": "A & B <press>",
            "extracted": {"documents": documents + 10, "bytes": 2 * size},
            **figures,
            "dropped": {"over_cap": {"documents": 10, "bytes": size}},
            "weight": weight,
            "epochs": epochs,
        }
    nothing = {"documents": 0, "bytes": 0}
    names = ("extracted", *sides)
    return {**sources, "words": {**dict.fromkeys(names, nothing), "dropped": {}}}
