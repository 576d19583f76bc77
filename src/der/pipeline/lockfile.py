"""What dvc.lock says of the last `dvc repro`: which stages ran, and with which parameters."""

import hashlib
import json
from collections.abc import Callable, Iterator
from itertools import groupby, takewhile
from pathlib import Path
from typing import Any

from der.core.errors import UserError
from der.pipeline.graph import list_stages
from der.pipeline.params import Change, compare, value_at
from der.pipeline.paths import PARAMS, SUMMARY, test_images, train_images
from der.pipeline.provenance import (read_committed)
from der.settings.yaml import (parse_yaml)

LOCK = Path("dvc.lock")
WITHOUT_OUTS = "report"  # the stage whose page is no output
RUNNING = Path(".dvc/tmp/rwlock")  # which files a running DVC reads and writes

Ran = dict[str, dict[str, Any]]  # stage -> dotted path -> value it ran with


def read_lock() -> Ran:
    """The parameters that every stage of the graph last ran with; empty where DVC has run nothing yet."""
    stages = _read_stages()
    if not stages:
        return {}
    return {  # a chain that was longer leaves its last steps in the lock
        name: stages[name].get("params", {}).get(str(PARAMS), {})
        for names in list_stages().values()
        for name in names
        if name in stages
    }


def read_outputs() -> dict[str, dict[Path, str]]:
    """The outputs of every stage that ran, and DVC's hash of each; it ends in .dir for a directory."""
    return {
        name: {Path(output["path"]): output["md5"] for output in stage.get("outs", [])}
        for name, stage in _read_stages().items()
    }


def read_dependencies() -> dict[str, dict[Path, str]]:
    """Of every stage that ran, DVC's hash of what it read; of a directory it ends in .dir."""
    return {
        name: {Path(one["path"]): one["md5"] for one in stage.get("deps", [])}
        for name, stage in _read_stages().items()
    }


def read_stage(stage: str) -> dict[str, Any]:
    """All that DVC has recorded of the last run of ``stage``; empty where it has run none."""
    record: dict[str, Any] = _read_stages().get(stage, {})
    return record


def count_same_steps(revision: str, most: int) -> int:
    """How many steps, of the first ``most``, have the same training and test images in a commit as now.

    As dvc.lock tells here and there; none where it does not.
    """
    try:
        then = _hash_images(_parse(read_committed(LOCK, revision).decode()), most)
    except (UserError, ValueError, KeyError, TypeError, AttributeError):  # no lock as DVC writes it
        return 0
    pairs = zip(_hash_images(_read_stages(), most), then, strict=True)
    return sum(1 for _ in takewhile(lambda pair: None not in pair[0] and pair[0] == pair[1], pairs))


def _hash_images(stages: dict[str, Any], most: int) -> list[list[str | None]]:
    """DVC's hashes of the images that each step trained on, and was tested on; None where it knows none."""
    hashes = {
        dependency["path"]: dependency["md5"]
        for step in range(1, most + 1)
        for stage in (f"train_task@{step}", f"evaluate@{step}")
        for dependency in stages.get(stage, {}).get("deps", [])
    }
    paths = [(train_images(step), test_images(step)) for step in range(1, most + 1)]
    return [[hashes.get(path.as_posix()) for path in pair] for pair in paths]


def _read_stages() -> dict[str, Any]:
    """All that DVC has recorded, by the names of stages; empty where it has run nothing yet.

    Raises UserError where it is half-written.
    """
    _check_whole(LOCK, _is_whole_lock)
    return _parse(LOCK.read_text(encoding="utf-8")) if LOCK.exists() else {}


def _parse(text: str) -> dict[str, Any]:
    stages: dict[str, Any] = parse_yaml(text, LOCK)["stages"] if text else {}
    return stages


def changes_since(ran: Ran, stage: str, parameters: Any) -> Iterator[Change]:
    """Where ``parameters``, all of params.yaml, differ from those that ``stage`` ran with."""
    for key, value in ran[stage].items():
        yield from compare(value, value_at(parameters, key), key)


def stages_to_run(parameters: Any) -> list[str]:
    """The stages that never ran, or with other parameters, as "split" or "train_task@2 to @11"."""
    ran = read_lock()
    wanted = []
    for names in list_stages().values():
        for waiting, row in groupby(
            names, lambda name: name not in ran or any(changes_since(ran, name, parameters))
        ):
            first, *others = row
            if waiting:
                wanted.append(first + (f" to @{others[-1].partition('@')[2]}" if others else ""))
    return wanted


def check_lock() -> None:
    """Raise UserError if a file that DVC does not write at once is half-written."""
    _check_whole(LOCK, _is_whole_lock)
    _check_whole(RUNNING, _is_whole_register)


def _check_whole(path: Path, is_whole: Callable[[str], bool]) -> None:
    try:
        whole = not path.exists() or is_whole(path.read_text(encoding="utf-8"))
    except (ValueError, AttributeError, TypeError, KeyError):
        whole = False
    if not whole:
        raise UserError(
            f"{path}: half-written, by a DVC that was killed; remove it and run `dvc repro`, which takes "
            "what is finished from its cache"
        )


def _is_whole_lock(text: str) -> bool:
    """Whether the last line has its end, every stage what it leaves, and every file its hash."""
    stages = parse_yaml(text, LOCK)["stages"]
    left = [entry for name, stage in stages.items() if name != WITHOUT_OUTS for entry in stage["outs"]]
    read = [entry for stage in stages.values() for entry in stage.get("deps", [])]
    return text.endswith("\n") and all("md5" in entry for entry in (*left, *read))


def _is_whole_register(text: str) -> bool:
    return isinstance(json.loads(text), dict)


def is_recorded(parameters: Any) -> bool:
    """Whether the commit that is checked out has dvc.lock and summary of one run with ``parameters``.

    Asked is stage report, the last, which depends on all parameters and on the summary.
    """
    lock, summary = read_committed(LOCK), read_committed(SUMMARY)
    report = parse_yaml(lock.decode(), LOCK)["stages"].get("report", {}) if lock else {}
    hashes = {dependency["path"]: dependency["md5"] for dependency in report.get("deps", [])}
    return (
        report.get("params", {}).get(str(PARAMS)) == parameters
        and hashes.get(str(SUMMARY)) == hashlib.md5(summary, usedforsecurity=False).hexdigest()
    )
