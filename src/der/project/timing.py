"""Seconds of every stage, kept beside the training state: outside the repository and all that DVC tracks.

They are found again by what the stage left, so that a run that DVC restored from its cache has its own, not
those of whatever ran last; copies of the repository in which experiments run share them.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from der.common.errors import UserError
from der.project.environment import scratch_root
from der.project.graph import read_stages
from der.project.paths import GRAPH

FILE = "seconds.jsonl"  # in the scratch directory: a line for every stage that ran
WHOLE = 1 << 20  # bytes up to which a file is told by its content: to hash all costs more than some stages


@contextmanager
def timed(stage: str) -> Iterator[None]:
    """Keep how long the block took, in wall time, as ``stage``'s, unless it fails.

    ``stage`` is its name in DVC's graph, "train_task@2"; what an interrupted run did before does not count.
    Seconds that cannot be written are lost: no result depends on them.
    """
    begin = time.perf_counter()
    yield
    keep_seconds(stage, time.perf_counter() - begin)


def keep_seconds(stage: str, seconds: float) -> None:
    """Append a line for ``stage``, which has just left its outputs."""
    path = scratch_root() / FILE
    try:
        line = json.dumps({"stage": stage, "left": digest_outputs(stage), "seconds": round(seconds, 3)})
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, f"{line}\n".encode())  # in one piece, whoever else writes
        finally:
            os.close(descriptor)
    except (OSError, UserError):
        return


def read_seconds(stages: list[str]) -> dict[str, float]:
    """Seconds of those of ``stages`` whose outputs are as a stage left them on this machine."""
    kept = {(one["stage"], one["left"]): one["seconds"] for one in _read_lines(scratch_root() / FILE)}
    keys = {stage: (stage, digest_outputs(stage)) for stage in stages}
    return {stage: kept[key] for stage, key in keys.items() if key in kept}


def _read_lines(path: Path) -> Iterator[dict[str, Any]]:
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    for line in text.splitlines():
        try:
            content = json.loads(line)
        except (ValueError, RecursionError):  # cut short, by a full disk
            continue
        if isinstance(content, dict) and content.keys() >= {"stage", "left", "seconds"}:
            yield content


def digest_outputs(stage: str) -> str:
    """SHA-256 over the outputs of ``stage``: names and sizes of all files, contents of the small ones.

    A manifest holds the digests of large files. What is missing counts as nothing.
    """
    digest = hashlib.sha256()
    for file in sorted(file for output in list_outputs(stage) for file in _files(output)):
        size = file.stat().st_size
        digest.update(f"{file.as_posix()}\0{size}\0".encode(errors="surrogateescape"))
        if size <= WHOLE:
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _files(output: Path) -> list[Path]:
    return [path for path in (output, *output.rglob("*")) if path.is_file()]


def list_outputs(stage: str) -> list[Path]:
    """Files and directories that ``stage`` leaves, as the graph has them; raises UserError if it has none."""
    name, _, key = stage.partition("@")
    content = read_stages().get(name)
    if content is None:
        raise UserError(f"{GRAPH}: no stage {name}; restore it with `git checkout {GRAPH}`")
    content = content.get("do", content)
    listed = [*content.get("outs", []), *content.get("metrics", [])]
    named = [one if isinstance(one, str) else next(iter(one)) for one in listed]
    return [Path(one.replace("${key}", key)) for one in named]
