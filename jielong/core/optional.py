"""Libraries that only some work needs, loaded when that work begins."""

import importlib
from types import ModuleType

from jielong.core.errors import DataError


def load(module: str, purpose: str, *, extra: str = "data") -> ModuleType:
    """The module, or a `DataError` that says what needs it and how to get it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        package = module.partition(".")[0]
        raise DataError(f"{purpose} needs {package}: pip install 'jielong[{extra}]'") from None
