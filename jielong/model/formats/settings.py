"""A `config.json` to be read strictly: a wrong value is named with its key and its file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jielong.core.errors import CheckpointError

CONFIG = "config.json"
MOST_LAYERS = 1000
"""So many no model of these families has: rules that ask of each layer need not bear more."""
_MOST = 2**31 - 1


class Settings:
    """The values of one file. What a key asks of its family is done or refused, not passed over.

    Keys that a family's models do not read are left alone, as `transformers` leaves them.
    """

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self.values, self.where = values, where

    @classmethod
    def load(cls, folder: Path) -> "Settings":
        """Read a folder's `config.json`."""
        file = folder / CONFIG
        try:
            values = json.loads(file.read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            raise CheckpointError(f"{file}: cannot be read ({error}): copy it anew") from None
        if not isinstance(values, dict):
            raise CheckpointError(f"{file}: holds no table of settings: copy it anew")
        return cls(values, str(file))

    def whole(self, key: str, default: int | None = None, most: int = _MOST) -> int:
        """A whole number from 1 to `most`; null is as good as nothing."""
        value = self.values.get(key)
        value = default if value is None else value
        if value is None:
            raise self.error(key, "is missing: give the config.json that belongs to the weights")
        if type(value) is not int or value < 1:
            raise self.refuse(key, value, "expected a whole number above 0")
        if value > most:
            raise self.refuse(key, value, f"expected at most {most}")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """A number above 0."""
        value = self.values.get(key)
        value = default if value is None else value
        if value is None:
            raise self.error(key, "is missing: give the config.json that belongs to the weights")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e30:
            raise self.refuse(key, value, "expected a number above 0")
        return float(value)

    def flag(self, key: str, *, default: bool) -> bool:
        """True or false."""
        value = self.values.get(key)
        value = default if value is None else value
        if not isinstance(value, bool):
            raise self.refuse(key, value, "expected true or false")
        return value

    def choice(self, key: str, known: Mapping[str, Any], default: str | None = None) -> Any:  # noqa: ANN401 - what the word stands for
        """What a word stands for; unknown words are refused."""
        value = self.values.get(key)
        value = default if value is None else value
        if not isinstance(value, str) or value not in known:
            raise self.refuse(key, value, f"only {', '.join(known)} can be read")
        return known[value]

    def only(self, neutral: Mapping[str, Any]) -> None:
        """Refuse keys whose value asks for more than the neutral one; null asks for nothing."""
        for key, value in neutral.items():
            found = self.values.get(key)
            if found is not None and found != value and found not in ([], {}):
                raise self.refuse(key, found, "asks for a part that is not here")

    def table(self, key: str) -> "Settings":
        """The settings below a key, none where it is null."""
        values = self.values.get(key)
        values = {} if values is None else values
        if not isinstance(values, dict):
            raise self.refuse(key, values, "expected a table")
        return Settings(values, f"{self.where}: {key}")

    def refuse(self, key: str, value: object, why: str) -> CheckpointError:
        """The error that names a value."""
        shown = json.dumps(value, ensure_ascii=False, default=str)
        return self.error(key, f"{shown if len(shown) < 80 else shown[:77] + '...'}: {why}")

    def error(self, key: str, text: str) -> CheckpointError:
        """The error that names a key."""
        return CheckpointError(f"{self.where}: {key}: {text}")
