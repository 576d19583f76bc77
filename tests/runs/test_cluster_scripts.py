"""Scripts of examples/cluster without a cluster: after a kill, and at Slurm's time limit."""

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.locations import ROOT
from tests.runs.killing import wait_for
from tests.runs.lab import RESULTS, Pipeline, digests

SCRIPTS = ROOT / "examples/cluster"
SCONTROL = """\
case "$1 $2" in
"show hostnames") echo node1 ;;
"show node") echo NodeAddr=127.0.0.1 ;;
requeue*) touch requeued ;;
esac
"""
HANGS = "touch begun; exec sleep infinity"


def write_programs(directory: Path, path: str, **texts: str) -> dict[str, str]:
    """Write shell scripts by the names of programs; returns the environment of a job, on ``path`` else."""
    directory.mkdir()
    for name, text in texts.items():
        (directory / name).write_text(f"#!/bin/bash\n{text}\n", encoding="utf-8")
        (directory / name).chmod(0o755)
    job = {"SLURM_JOB_ID": "1", "SLURM_NNODES": "1", "SLURM_JOB_NODELIST": "node1"}
    return job | {"PATH": f"{directory}:{path}", "DER_SCRATCH": str(directory)}


@pytest.fixture
def clone(base: Pipeline, pipeline: Pipeline, tmp_path: Path) -> Pipeline:
    """All stages have run, as of a row or a chain that ``pipeline`` asks for; DVC's lock is a half."""
    clone = base.copy_to(tmp_path / "clone")
    lock = (clone.root / "dvc.lock").read_bytes()
    clone.succeed("git", "remote", "add", "origin", str(pipeline.root))
    clone.succeed("git", "checkout", "--quiet", "--detach", "HEAD~1")  # which has no dvc.lock
    clone.succeed("dvc", "remote", "add", "--local", "--default", "shared", str(tmp_path / "remote"))
    shutil.copyfile(base.root / "metrics/summary.json", clone.root / "metrics/summary.json")
    (clone.root / "dvc.lock").write_bytes(lock[: len(lock) // 2])
    (clone.root / ".git/index.lock").touch()
    # As of a process of another node: one that has the same number is alive here.
    here = {"pid": os.getpid(), "cmd": "dvc repro"}
    busy = {str(clone.root / "data"): here, str(clone.root / "metrics"): here}
    (clone.root / ".dvc/tmp/rwlock").write_text(json.dumps({"read": {}, "write": busy}), encoding="utf-8")
    return clone


def run_script(clone: Pipeline, tmp_path: Path, script: str, *words: str) -> str:
    """Run a script on the clone's commit without a cluster; returns what it printed."""
    path = clone.environment()["PATH"]
    dvc = f'exec "{clone.python}" -m dvc "$@"'
    environment = write_programs(tmp_path / "bin", path, srun=":", dvc=dvc, scontrol=SCONTROL)
    origin = clone.succeed("git", "remote", "get-url", "origin").strip()
    head = clone.succeed("git", "rev-parse", "HEAD").strip()
    return clone.succeed(
        "bash", f"examples/cluster/{script}", origin, head, *words, str(clone.root), **environment
    )


@pytest.mark.torture
def test_a_row_goes_on_and_computes_nothing_again(
    base: Pipeline, pipeline: Pipeline, clone: Pipeline, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.txt"
    rows.write_text("memory.budget=8\n", encoding="utf-8")  # as it is
    said = run_script(clone, tmp_path, "sweep_row.sh", str(rows), "1")
    assert "Stage 'train_task@1' is cached" in said
    assert re.findall(r"^Running stage '(.+)':$", said, re.MULTILINE) == ["report"]  # which is in no cache
    kept = [name for name in RESULTS if name.startswith("data")]
    assert digests(clone.root, kept) == digests(base.root, kept)
    assert "row-1" in pipeline.succeed("dvc", "exp", "list", "--all-commits")


def test_a_chain_commits_what_it_has_trained(pipeline: Pipeline, clone: Pipeline, tmp_path: Path) -> None:
    run_script(clone, tmp_path, "chain.slurm", "1")
    assert json.loads(clone.succeed("dvc", "status", "--json")) == {}
    assert "clone" in pipeline.succeed("dvc", "exp", "list", "--all-commits")


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
    line = ["bash", str(SCRIPTS / "chain.slurm"), str(origin), "HEAD", "1", str(clone)]
    with subprocess.Popen(line, env=os.environ | environment, start_new_session=True) as job:
        try:
            wait_for((clone / "begun").exists)
            job.send_signal(signal.SIGUSR1)
            wait_for((clone / "requeued").exists)
        finally:
            os.killpg(job.pid, signal.SIGKILL)
