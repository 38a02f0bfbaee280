"""Tables of numbers that one phase leaves for the next: dataclasses of NumPy arrays."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from jielong.core.errors import DataError
from jielong.core.files import atomic_writer


def save_arrays(path: Path, table: Any) -> None:  # noqa: ANN401 - any dataclass of arrays
    """Write every array of a dataclass as one NumPy archive."""
    with atomic_writer(path) as file:
        np.savez(file, **vars(table))


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read what `save_arrays` wrote; raises `DataError` when it is damaged."""
    with _opened(path) as archive:
        return {name: archive[name] for name in archive.files}


def load_column(path: Path, name: str) -> np.ndarray:
    """One array of what `save_arrays` wrote; the others are not read."""
    with _opened(path) as archive:
        return archive[name]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            yield archive
    except Exception as error:  # noqa: BLE001 - zipfile and NumPy raise many kinds
        raise DataError(f"{path}: damaged ({error}): start anew in another run_dir") from None


def save_array(path: Path, array: np.ndarray) -> None:
    """Write one array so that it can be mapped into memory."""
    with atomic_writer(path) as file:
        np.save(file, array)
