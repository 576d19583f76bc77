"""Pipelines that many tests start from, built once for all workers of a test run."""

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pipeline.lab import Pipeline, make_pipeline
from tests.pipeline.opens import recording


def build_once(factory: pytest.TempPathFactory, name: str, build: Callable[[Path], None]) -> Path:
    """A directory that ``build`` fills, in whichever worker comes first; the others wait for it."""
    shared = factory.getbasetemp()
    if shared.name.startswith("popen-"):  # a worker's own; what it shares lies beside
        shared = shared.parent
    directory, done = shared / name, shared / f"{name}.done"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            for left in shared.glob(f"{name}*/"):  # by a worker that failed
                shutil.rmtree(left)
            build(directory)
            done.touch()
    return directory


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """A tiny pipeline after `dvc repro`, all committed; only to be read."""

    def build(root: Path) -> None:
        pipeline = make_pipeline(root)
        pipeline.repro()
        pipeline.commit("Results")

    return Pipeline(build_once(tmp_path_factory, "base", build))


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """As ``base``, run at another place with every opened file on record; only to be read."""

    def build(root: Path) -> None:
        pipeline = make_pipeline(root)
        pipeline.repro(**recording(pipeline))

    return Pipeline(build_once(tmp_path_factory, "recorded", build))


@pytest.fixture
def pipeline(base: Pipeline, tmp_path: Path) -> Pipeline:
    """A copy of ``base`` to work on."""
    return base.copy_to(tmp_path / "pipeline")
