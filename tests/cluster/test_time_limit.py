"""A chain's job goes back to the queue whatever it does when Slurm says that its time is over."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cluster.jobs import SCONTROL, write_programs
from tests.cluster.slurm import wait_until
from tests.locations import ROOT

SCRIPT = ROOT / "examples/cluster/chain.slurm"
HANGS = "touch begun; exec sleep infinity"


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    directory = tmp_path / "origin"
    line = ["git", "-c", "user.name=Tests", "-c", "user.email=tests@example.org", "-C", str(directory)]
    subprocess.run(["git", "init", "--quiet", str(directory)], check=True)
    subprocess.run([*line, "commit", "--quiet", "--allow-empty", "--message", "Nothing"], check=True)
    return directory


@pytest.mark.parametrize(
    ("srun", "dvc"), [(HANGS, ":"), (":", f'[ "$1" != push ] || {{ {HANGS}; }}')], ids=["trains", "pushes"]
)
def test_goes_back_to_the_queue(srun: str, dvc: str, origin: Path, tmp_path: Path) -> None:
    path = os.environ["PATH"]
    environment = write_programs(tmp_path / "bin", path, srun=srun, dvc=dvc, scontrol=SCONTROL)
    clone = tmp_path / "chain"
    line = ["bash", str(SCRIPT), str(origin), "HEAD", "1", str(clone)]
    with subprocess.Popen(line, env=os.environ | environment, start_new_session=True) as job:
        try:
            wait_until((clone / "begun").exists)
            job.send_signal(signal.SIGUSR1)
            wait_until((clone / "requeued").exists)
        finally:
            os.killpg(job.pid, signal.SIGKILL)
