"""Results in one JSON file that several processes may add to, and that a later run goes on from."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from der.core.errors import UserError
from der.core.files import atomic_file

Record = dict[str, Any]


@dataclass(frozen=True)
class Results:
    """A file of records; ``head`` stands beside them."""

    path: Path
    head: Record

    def read(self) -> list[Record]:
        """All records so far, by seed, step and name; none if there is no file."""
        if not self.path.exists():
            return []
        records: list[Record] = json.loads(self.path.read_text(encoding="utf-8"))["runs"]
        return records

    def check(self) -> None:
        """Raise UserError if the file holds what was made otherwise: another case, machine or torch."""
        if self.path.exists():
            there = json.loads(self.path.read_text(encoding="utf-8"))
            for name, value in self.head.items():
                if there.get(name) != value:
                    raise UserError(
                        f"{self.path}: of {name} {there.get(name)}, not {value}; name another file"
                    )

    def has(self, program: str, seed: int) -> bool:
        """Whether a run is there already; others may have added it just now."""
        return any((one["program"], one["seed"]) == (program, seed) for one in self.read())

    def add(self, record: Record) -> None:
        """Add a record, whole or not at all, in place of one with the same seed, step and name."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_suffix(".lock")), atomic_file(self.path) as partial:
            others = [one for one in self.read() if _place(one) != _place(record)]
            runs = sorted([*others, record], key=_place)
            text = json.dumps({**self.head, "runs": runs}, indent=1, sort_keys=True, allow_nan=False)
            partial.write_text(text + "\n", encoding="utf-8")


def _place(record: Record) -> tuple[int, int, str]:
    """Where a record stands: its seed, its step if it is of one, and the program or what was compared."""
    return record["seed"], record.get("step", 0), record.get("program") or record["what"]
