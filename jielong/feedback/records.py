"""Records of feedback: one JSON object a line, read strictly.

A field that is missing, unknown or of another type is an error with its place. Of `ranks` smaller
is better, equal is a tie and null is not ranked.
"""

import json
import types
import typing
from collections.abc import Iterable
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from jielong.core import json_lines
from jielong.core.errors import DataError
from jielong.core.files import write_atomic

SCHEMA = 1
R = TypeVar("R", "Prompt", "Demonstration", "Ranking", "Judgement")


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A question; `group` decides its split, `constraints` are wishes that can be checked."""

    id: str
    messages: tuple[dict[str, str], ...]
    lang: str
    source: str = ""
    group: str
    tags: tuple[str, ...] = ()
    constraints: dict[str, str] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA


@dataclass(frozen=True, kw_only=True)
class Demonstration:
    """A talk whose last message is the answer to learn."""

    id: str
    prompt_id: str
    messages: tuple[dict[str, str], ...]
    annotator: str
    guideline_version: str = ""
    ts: str = ""
    consent: bool = True
    source: str = ""
    extra: dict[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA


@dataclass(frozen=True, kw_only=True)
class Response:
    """One answer to be ranked, and how it came about."""

    id: str
    text: str
    ids: tuple[int, ...] | None = None
    tokenizer_sha: str | None = None
    model: str
    sampling: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None
    finish: str
    logp: float | None = None


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """The order that one annotator gave to the answers of one prompt."""

    id: str
    prompt_id: str
    messages: tuple[dict[str, str], ...]
    responses: tuple[Response, ...]
    ranks: tuple[int | None, ...]
    verdict: Literal["ranked", "all_unacceptable", "cannot_judge"] = "ranked"
    annotator: str
    presented_order: tuple[str, ...] = ()
    seconds: float | None = None
    ratings: tuple[int, ...] | None = None
    flags: dict[str, tuple[str, ...]] = field(default_factory=dict)
    guideline_version: str = ""
    ts: str = ""
    consent: bool = True
    extra: dict[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        """Refuse what cannot be a ranking."""
        names = [response.id for response in self.responses]
        if len(names) < 2:
            raise ValueError(f"responses: {len(names)}: a ranking needs two answers or more")
        if len(set(names)) < len(names):
            raise ValueError(f"responses: {', '.join(names)}: give each answer its own id")
        if len(self.ranks) != len(names):
            raise ValueError(f"ranks: {len(self.ranks)} for {len(names)} answers: give one each")
        if any(rank is not None and rank < 1 for rank in self.ranks):
            raise ValueError(f"ranks: {list(self.ranks)}: count from 1, or null for not ranked")
        if self.presented_order and sorted(self.presented_order) != sorted(names):
            order = ", ".join(self.presented_order)
            raise ValueError(f"presented_order: {order}: name every answer once, or leave it out")
        if self.ratings and (len(self.ratings) != len(names) or not set(self.ratings) <= _LIKERT):
            raise ValueError(f"ratings: {list(self.ratings)}: give each answer 1 to 7")
        if unknown := set(self.flags) - set(names):
            raise ValueError(f"flags: {', '.join(sorted(unknown))}: no such answer")


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Which of two models' answers to one prompt a judge prefers."""

    id: str
    prompt_id: str
    a: str
    b: str
    order: str = "ab"
    verdict: Literal["a", "b", "tie", "both_bad"]
    judge: str
    model_a: str
    model_b: str
    ts: str = ""
    extra: dict[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA


_LIKERT = set(range(1, 8))
_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def write(path: Path, records: Iterable[R]) -> None:
    """Write the records, whole or not at all."""
    lines = (json.dumps(asdict(record), ensure_ascii=False) for record in records)
    write_atomic(path, "".join(f"{line}\n" for line in lines))


def read(path: Path, kind: type[R], *, keep_extra: bool = False) -> list[R]:
    """Read records of one kind; raises `DataError` with file, line and field.

    With `keep_extra` unknown fields are kept under `extra` instead of being refused.
    """
    found = [_record(kind, value, where, keep_extra) for where, value in json_lines.read(path)]
    _refuse_repeated_ids(found, path)
    return found


def _record(kind: type[R], values: Any, where: str, keep_extra: bool) -> R:  # noqa: ANN401 - JSON
    if isinstance(values, dict):
        if values.get("schema", SCHEMA) != SCHEMA:
            raise DataError(f"{where}: schema: {values['schema']}: this version reads {SCHEMA}")
        if keep_extra:
            known = {f.name for f in fields(kind)}
            unknown = {key: values.pop(key) for key in set(values) - known}
            values["extra"] = {**values.get("extra", {}), **unknown}
    return _object(kind, values, f"{where}: ")


def _refuse_repeated_ids(records: list[R], path: Path) -> None:
    seen: set[str] = set()
    for record in records:
        if record.id in seen:
            raise DataError(f"{path}: id {record.id!r} comes twice: give each record its own")
        seen.add(record.id)


def _object(cls: type, value: Any, where: str) -> Any:  # noqa: ANN401 - JSON in, record out
    _expected(isinstance(value, dict), value, "an object", where.rstrip(":. "))
    hints = typing.get_type_hints(cls)
    known = {f.name: f for f in fields(cls)}
    if unknown := sorted(set(value) - set(known)):
        raise DataError(f"{where}{unknown[0]}: no such field: known are {', '.join(known)}")
    for name, f in known.items():
        if name not in value and f.default is MISSING and f.default_factory is MISSING:
            raise DataError(f"{where}{name}: missing: the record must have it")
    arguments = {name: _convert(hints[name], v, f"{where}{name}") for name, v in value.items()}
    try:
        return cls(**arguments)
    except ValueError as error:
        raise DataError(f"{where}{error}") from None


def _convert(hint: Any, value: Any, where: str) -> Any:  # noqa: ANN401 - one case a type
    """`value` as the type that `hint` asks for, or a `DataError` with its place."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if is_dataclass(hint):
        return _object(typing.cast(type, hint), value, f"{where}.")
    if origin is types.UnionType:
        return None if value is None else _convert(arguments[0], value, where)
    if origin is Literal:
        return _expected(value in arguments, value, f"one of {', '.join(arguments)}", where)
    if origin is tuple:
        _expected(isinstance(value, list), value, "a list", where)
        return tuple(_convert(arguments[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if origin is dict:
        _expected(isinstance(value, dict), value, "an object", where)
        return {key: _convert(arguments[1], v, f"{where}.{key}") for key, v in value.items()}
    if hint is float and type(value) is int:
        return float(value)
    return _expected(type(value) is hint, value, _NAMES[hint], where)


def _expected(fits: bool, value: Any, what: str, where: str) -> Any:  # noqa: ANN401 - JSON
    if not fits:
        raise DataError(f"{where}: {_shown(value)}: expected {what}")
    return value


def _shown(value: Any) -> str:  # noqa: ANN401 - any JSON value
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
