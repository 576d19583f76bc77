"""Results in one JSON file that several processes may add to, and that a later run goes on from."""

import fcntl
import json
import os
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def read_records(path: Path) -> list[Record]:
    """All records so far; none if there is no file."""
    if not path.exists():
        return []
    records: list[Record] = json.loads(path.read_text(encoding="utf-8"))["runs"]
    return records


def add_record(path: Path, head: Record, record: Record) -> None:
    """Add a record, whole or not at all, in place of one that ``order`` calls the same.

    ``head`` stands beside the runs, which are kept in order.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        others = [one for one in read_records(path) if order(one) != order(record)]
        runs = sorted([*others, record], key=order)
        partial = path.with_suffix(".partial")
        text = json.dumps({**head, "runs": runs}, indent=1, sort_keys=True, allow_nan=False)
        partial.write_text(text + "\n", encoding="utf-8")
        os.replace(partial, path)


def order(record: Record) -> tuple[int, int, str]:
    """By seed, then step, then program."""
    return record.get("seed", 0), record.get("step", 0), record["program"]
