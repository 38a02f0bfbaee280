"""Recipes: TOML read strictly into frozen dataclasses, and written back with every default.

A setting that does not exist, a value of another type or a missing key fails before anything is
loaded, with its dotted path. Nothing is read from environment variables.
"""

import dataclasses
import difflib
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from jielong.core.errors import ConfigError

T = TypeVar("T")


def load(cls: type[T], path: Path, overrides: Iterable[str] = ()) -> T:
    """Read the recipe at `path` into `cls`; each override is `dotted.key=value` (value in TOML).

    A bare word that is no TOML value is taken as a string, so `init_from=runs/x` needs no quotes.
    """
    values = read(path)
    for override in overrides:
        _apply(values, override)
    return parse(cls, values)


def read(path: Path) -> dict[str, Any]:
    """The plain values of the recipe at `path`."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such recipe: give the path of a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path}: not a TOML file ({error}): mend that line") from None


def parse(cls: type[T], values: Mapping[str, Any], where: str = "") -> T:
    """Build `cls` from plain values, refusing whatever does not fit."""
    fields = {
        field.name: field for field in dataclasses.fields(typing.cast(Any, cls)) if field.init
    }
    hints = typing.get_type_hints(cls)
    prefix = f"{where}." if where else ""
    for key in values:
        if key not in fields:
            raise ConfigError(f"{prefix}{key}: no such setting; {_suggestion(key, fields)}")
    arguments = {}
    for name, field in fields.items():
        if name in values:
            arguments[name] = _convert(hints[name], values[name], f"{prefix}{name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{prefix}{name}: missing: the recipe must give it")
    try:
        return cls(**arguments)
    except ValueError as error:  # a config's own __post_init__ checks
        raise ConfigError(f"{prefix}{error}") from None


def check_positive(config: Any, *names: str) -> None:  # noqa: ANN401 - any config dataclass
    """For a config's `__post_init__`: refuse settings that are not above 0."""
    for name in names:
        if not getattr(config, name) > 0:
            raise ValueError(f"{name}: {getattr(config, name)}: must be above 0")


def to_dict(config: Any) -> dict[str, Any]:  # noqa: ANN401 - any config dataclass
    """Every setting as plain TOML values; settings that are None are left out."""
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    return {name: _plain(value) for name, value in values.items() if value is not None}


def dumps(config: Any) -> str:  # noqa: ANN401 - any config dataclass
    """The configuration as TOML with every default, ready to be run again."""
    return "\n".join(_toml_lines(to_dict(config), ())) + "\n"


def _apply(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"{override}: not an override: write key=value")
    *parents, last = key.strip().split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise ConfigError(f"{key}: {parent} is a value, not a table: shorten the path")
    values[last] = _parse_value(text.strip())


def _parse_value(text: str) -> Any:  # noqa: ANN401 - any TOML value
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _convert(hint: Any, value: Any, where: str) -> Any:  # noqa: ANN401 - any type's value
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (typing.Union, types.UnionType):
        literal = next((a for a in arguments if get_origin(a) is Literal), None)
        if literal is not None and type(value) is str:  # a word that stands for a number
            return _convert(literal, value, where)
        return _convert(next(a for a in arguments if a is not type(None)), value, where)
    if origin is Literal:
        if value not in arguments:
            raise ConfigError(
                f"{where}: {value!r}: choose one of {', '.join(map(repr, arguments))}"
            )
        return value
    if origin is tuple:
        _expect(isinstance(value, list | tuple), value, where, "a list")
        return tuple(_convert(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        _expect(isinstance(value, Mapping), value, where, "a table")
        return {key: _convert(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if dataclasses.is_dataclass(hint):
        _expect(isinstance(value, Mapping), value, where, "a table of settings")
        return parse(typing.cast(type, hint), value, where)
    if hint is float and type(value) is int and abs(value) < 2**1023:
        return float(value)
    _expect(type(value) is hint, value, where, hint.__name__)
    return value


def _expect(fits: bool, value: Any, where: str, kind: str) -> None:  # noqa: ANN401 - any value
    if not fits:
        raise ConfigError(f"{where}: {value!r} is a {type(value).__name__}: expected {kind}")


def _suggestion(key: str, known: Iterable[str]) -> str:
    names = list(known)
    close = difflib.get_close_matches(key, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known settings: {', '.join(names)}"


def _plain(value: Any) -> Any:  # noqa: ANN401 - any setting
    if dataclasses.is_dataclass(value):
        return to_dict(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _toml_lines(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    plain = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    lines = [f"{_toml_key(key)} = {_toml_value(value)}" for key, value in plain.items()]
    if path:
        lines.insert(0, f"\n[{'.'.join(map(_toml_key, path))}]")
    for key, value in table.items():
        if isinstance(value, Mapping):
            lines += _toml_lines(value, (*path, key))
    return lines


def _toml_key(key: str) -> str:
    return (
        key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else _quoted(key)
    )


def _toml_value(value: Any) -> str:  # noqa: ANN401 - any TOML value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml_value, value))}]"
    return repr(value)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else _escape(c) for c in escaped) + '"'


def _escape(character: str) -> str:
    """TOML allows no control characters in a string; whatever cannot be seen is spelled out too."""
    return f"\\U{ord(character):08x}"
