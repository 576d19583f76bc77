"""Which files a stage's process opens, and which modules it has loaded in the end, when DVC runs it."""

import os
from collections.abc import Iterator
from importlib.util import source_from_cache
from pathlib import Path
from typing import NamedTuple

from tests.runs.lab import Pipeline

# Python imports a module of this name at start. Only a stage's command has DVC_STAGE in its environment.
# What C code opens by itself goes unseen: safetensors' reading and writing, in this project.
HOOK = """
import atexit
import os
import sys

if "DVC_STAGE" in os.environ:
    record = os.open(
        os.path.join(os.environ["OPENS"], os.environ["DVC_STAGE"]), os.O_WRONLY | os.O_CREAT | os.O_APPEND
    )

    def note(kind, what):
        os.write(record, f"{kind} {what}\\n".encode())

    def hook(event, arguments):
        if event == "open" and not isinstance(arguments[0], int):
            path, _, flags = arguments
            kind = "w" if flags & (os.O_WRONLY | os.O_RDWR) else "r"
            note(kind, os.path.abspath(os.fsdecode(path)))

    sys.addaudithook(hook)

    @atexit.register
    def list_modules():
        for name in [name for name in sys.modules if name.partition(".")[0] in ("der", "stages")]:
            note("m", name)
"""


class Opened(NamedTuple):
    """A file that a stage opened."""

    stage: str
    path: str  # a module's source, where its compiled form was opened
    written: bool  # not of a compiled form, which Python writes


def _records(pipeline: Pipeline) -> Path:
    return pipeline.root.with_name(f"{pipeline.root.name}.opens")


def recording(pipeline: Pipeline, *packages: Path) -> dict[str, str]:
    """Environment that puts every file a stage opens on record; ``packages`` come before those installed."""
    hook = pipeline.root.with_name(f"{pipeline.root.name}.hook")
    _records(pipeline).mkdir()
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(HOOK, encoding="utf-8")
    return {
        "PYTHONPATH": os.pathsep.join(str(path) for path in (hook, *packages)),
        "OPENS": str(_records(pipeline)),
    }


def recorded_paths(pipeline: Pipeline) -> Iterator[Opened]:
    """The files on record, paths in full."""
    for stage, kind, path in _read_records(pipeline):
        if kind in ("r", "w"):
            source = _source(path)
            yield Opened(stage, source, kind == "w" and source == path)


def loaded_modules(pipeline: Pipeline) -> dict[str, set[str]]:
    """By the stage's name, the modules of ours that every stage's process had loaded when it ended."""
    found: dict[str, set[str]] = {}
    for stage, kind, name in _read_records(pipeline):
        if kind == "m":
            found.setdefault(stage, set()).add(name)
    return found


def _read_records(pipeline: Pipeline) -> Iterator[list[str]]:
    """Stage, kind and what it is of all lines on record."""
    for record in _records(pipeline).iterdir():
        for line in record.read_text(encoding="utf-8").splitlines():
            yield [record.name, *line.split(" ", 1)]


def opens_inside(pipeline: Pipeline) -> set[Opened]:
    """What is on record about files inside the project, paths from its root."""
    root = str(pipeline.root.resolve()) + os.sep
    return {
        one._replace(path=one.path.removeprefix(root))
        for one in recorded_paths(pipeline)
        if one.path.startswith(root)
    }


def _source(path: str) -> str:
    """The module that a compiled file was made from; a temporary name has a number after the suffix."""
    directory, _, name = path.rpartition("/")
    if not directory.endswith("__pycache__"):
        return path
    return source_from_cache(f"{directory}/{name[: name.index('.pyc') + len('.pyc')]}")
