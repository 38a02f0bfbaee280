"""JSON Lines from a user: one value a line, each with its place for the error that may follow."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from jielong.core.errors import DataError


def read(path: Path) -> Iterator[tuple[str, Any]]:
    """(place, value) of each line that is not blank; raises `DataError` naming file and line."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file: give a JSONL file") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8 text: save it as UTF-8") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}): give a JSONL file") from None
    # `splitlines` would also split at U+2028, which may stand inside a JSON string.
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        if line.strip():
            yield f"{path}:{number}", _parse(line, f"{path}:{number}")


def _parse(line: str, where: str) -> Any:  # noqa: ANN401 - any JSON value
    try:
        value = json.loads(line, parse_constant=_refuse)
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise DataError(f"{where}: holds half a character (\\ud800 to \\udfff): mend it") from None
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        raise DataError(f"{where}: not JSON ({reason}): write one object a line") from None
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")
