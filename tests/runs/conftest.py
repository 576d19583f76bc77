"""Pipelines that many tests start from, built once for all workers of a test run."""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.runs import fork_server
from tests.runs.lab import Pipeline, make_pipeline
from tests.runs.opens import recording


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
def forks() -> Iterator[Path | None]:
    """The program "python" of a fork server; None where there is no such thing."""
    if not hasattr(os, "pidfd_open"):
        yield None
        return
    with TemporaryDirectory() as directory:  # a socket's path must be short
        line = [sys.executable, "-E", fork_server.__file__, directory]
        with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
            assert server.stdin and server.stdout and server.stdout.readline()
            yield Path(directory) / "python"
            server.stdin.close()


@pytest.fixture(scope="session")
def base(forks: Path | None, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """A tiny pipeline after `dvc repro`, every opened file on record, all committed; only to be read."""

    def build(root: Path) -> None:
        pipeline = make_pipeline(root, forks)
        pipeline.repro(**recording(pipeline))
        pipeline.commit("Results")

    return Pipeline(build_once(tmp_path_factory, "base", build), forks)


@pytest.fixture
def pipeline(base: Pipeline, tmp_path: Path) -> Pipeline:
    """A copy of ``base`` to work on."""
    return base.copy_to(tmp_path / "pipeline")
