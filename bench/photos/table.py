"""Finished rows as one JSON file, and as a Markdown table, of which docs/images.md has some rows."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from der.core.files import read_json, write_json

RESULTS = Path("bench/results/photos/table.json")
FILE_KEYS = ("network", "images_per_class", "seed")

Rows = Sequence[dict[str, Any]]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows that are finished."""
    return list(read_json(path)["rows"]) if path.exists() else []


def write_rows(path: Path, rows: Rows) -> None:
    """Write all rows; the file is whole at any time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"rows": [*rows]})


def is_finished(key: dict[str, Any], rows: Rows) -> bool:
    """Whether a row of this key is among those finished."""
    return any({name: row[name] for name in FILE_KEYS} == key for row in rows)


def format_rows(rows: Rows) -> str:
    """A line for every network and number of images: means over seeds, their range, the first's minutes."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(json.dumps([row["network"], row["images_per_class"]]), []).append(row)
    head = ["network", "images a class", "average top-1", "last top-1", "minutes of a core", "seeds"]
    lines = [head, ["---", *["---:"] * 5]]
    for group in groups.values():
        cells = [_range([one[name] for one in group]) for name in ("average", "last")]
        first = group[0]  # other seeds may be of another machine
        minutes = f"{first['core_seconds'] / 60:.1f}"
        lines.append([first["network"], str(first["images_per_class"]), *cells, minutes, str(len(group))])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _range(values: Sequence[float]) -> str:
    spread = f" ± {(max(values) - min(values)) / 2:.1f}" if len(values) > 1 else ""
    return f"{float(np.mean(values)):.1f}{spread}"
