"""A cluster, and a repository whose jobs it runs."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.slurm import slurm
from tests.runs.lab import Pipeline, make_pipeline


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    if shutil.which("slurmctld", path=f"{os.environ['PATH']}:/usr/sbin") is None:
        pytest.skip("needs Slurm: apt-get install slurm-wlm munge")
    with slurm(tmp_path_factory.mktemp("slurm")):
        yield


@pytest.fixture
def origin(tmp_path: Path) -> Pipeline:
    """A committed pipeline that never ran, with a remote that its clones share."""
    pipeline = make_pipeline(tmp_path / "origin")
    pipeline.succeed("dvc", "remote", "add", "--default", "shared", str(tmp_path / "shared/remote"))
    pipeline.succeed("git", "add", "--force", "data/images")
    pipeline.commit("Images, and a remote")
    return pipeline
