"""JSON and .npy files: written whole or not at all, read without running anything."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from der.core.atomic import atomic_file
from der.core.errors import UserError
from der.core.filesystem import regular


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented UTF-8 JSON; NaN and infinity are refused."""
    with atomic_file(path) as partial:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
        partial.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read JSON; raises UserError naming the file if it is missing or damaged, or holds NaN or infinity."""
    try:
        return json.loads(regular(path).read_text(encoding="utf-8"), parse_constant=_refuse)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({_reason(error)})") from None


def _reason(error: Exception) -> str:
    """What is wrong; of what the system says without its number and the path."""
    return getattr(error, "strerror", None) or str(error)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write a .npy file."""
    with atomic_file(path) as partial, partial.open("wb") as stream:
        np.save(stream, array, allow_pickle=False)


def read_array(path: Path, *, mapped: bool = False) -> NDArray[Any]:
    """Read a .npy file, as a read-only memory map if ``mapped``; never unpickles."""
    try:
        array: NDArray[Any] = np.load(regular(path), mmap_mode="r" if mapped else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: cannot be read as a .npy array ({_reason(error)})") from None
    return array
