"""The classes of the images that were read last, for sources that name none before they read."""

import hashlib
import os
from pathlib import Path
from typing import Any

from der.core.errors import DamageError
from der.data.class_arrays import list_classes
from der.pipeline.fingerprint_files import read_code
from der.pipeline.lockfile import read_stage
from der.pipeline.objects import find_files, hash_output
from der.pipeline.paths import PARAMS, RAW, fingerprint
from der.settings.sections import DatasetSettings, to_values

STAGE = "download"


def names_read_last(dataset: DatasetSettings) -> list[str]:
    """The classes in data/raw in alphabetical order; none if ``dataset.path`` may hold others by now.

    dvc.lock tells the parameters, code and sizes that they were read with; for bytes see ``is_unchanged``.
    """
    record = read_stage(STAGE)
    entries = _list_entries(record)
    ran_with = record.get("params", {}).get(str(PARAMS), {}).get("dataset")
    if ran_with != to_values(dataset) or not all(_has_size(entries, path) for path in (RAW, _path(dataset))):
        return []
    code = hashlib.md5(read_code([STAGE])[STAGE].encode(), usedforsecurity=False)
    if entries.get(fingerprint(STAGE), {}).get("md5") != code.hexdigest():
        return []
    try:
        return list_classes(RAW / "train")
    except DamageError:
        return []


def is_unchanged(dataset: DatasetSettings) -> bool:
    """Whether ``dataset.path`` has the bytes that were read: seconds for a large archive, so asked late."""
    return bool(hash_output(_path(dataset)) == _list_entries(read_stage(STAGE))[_path(dataset)]["md5"])


def _path(dataset: DatasetSettings) -> Path:
    return Path(os.path.normpath(dataset.path))  # as DVC writes it


def _list_entries(record: dict[str, Any]) -> dict[Path, dict[str, Any]]:
    """What DVC has recorded of every file and directory that a stage read or left."""
    return {Path(entry["path"]): entry for kind in ("deps", "outs") for entry in record.get(kind, [])}


def _has_size(entries: dict[Path, dict[str, Any]], path: Path) -> bool:
    files = find_files(path)
    found = sum(file.stat().st_size for file in files), len(files)
    entry = entries.get(path, {})
    return found == (entry.get("size"), entry.get("nfiles", 1))
