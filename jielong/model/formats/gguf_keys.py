"""The keys of a GGUF file that belong to its architecture, read strictly."""

import json
from dataclasses import dataclass, field
from typing import Any

from jielong.core.errors import CheckpointError
from jielong.model.formats.gguf_file import GgufFile

_NOTHING = (0, False, "", "none", [])


@dataclass
class Keys:
    """What one architecture's keys say; in the end none may be left over that asks for more."""

    file: GgufFile
    prefix: str
    read: set[str] = field(default_factory=set)

    def get(self, key: str, default: Any = None) -> Any:  # noqa: ANN401 - whatever the file holds
        """A value; a list that says the same of every layer is as good as one number."""
        self.read.add(key)
        value = self.file.metadata.get(self.prefix + key, default)
        if isinstance(value, list) and value and all(entry == value[0] for entry in value):
            return value[0]
        return value

    def whole(self, key: str, default: int | None = None) -> int:
        """A whole number above 0, of 31 bits at most."""
        value = self.get(key, default)
        if value is None:
            raise self.file.error(f"{self.prefix}{key} is missing: convert the model anew")
        if type(value) is not int or value < 1:
            raise self.refuse(key, "expected one whole number above 0")
        if value >= 2**31:
            raise self.refuse(key, "expected a number below 2^31")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """A number above 0; 0 is as good as nothing."""
        value = self.get(key, default)
        value = default if value == 0 else value
        if value is None:
            raise self.file.error(f"{self.prefix}{key} is missing: convert the model anew")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e30:
            raise self.refuse(key, "expected a number above 0")
        return float(value)

    def only(self, key: str, wanted: object) -> None:
        """Refuse any other value than the one that our shape has."""
        value = self.get(key, wanted)
        if value != wanted:
            raise self.refuse(key, f"only {wanted!r} can be read")

    def finish(self) -> None:
        """Refuse keys that nobody has asked for, unless they ask for nothing either."""
        for name, value in self.file.metadata.items():
            key = name.removeprefix(self.prefix)
            if name.startswith(self.prefix) and key not in self.read and value not in _NOTHING:
                raise self.refuse(key, "asks for a part that is not here")

    def refuse(self, key: str, why: str) -> CheckpointError:
        """The error that names a key and its value."""
        shown = json.dumps(self.file.metadata.get(self.prefix + key), ensure_ascii=False)
        shown = shown if len(shown) < 80 else shown[:77] + "..."
        return self.file.error(f"{self.prefix}{key}: {shown}: {why}")
