"""Jobs of a pipeline on Slurm, or run by programs that stand in for it: how they start, what they say."""

import re
from dataclasses import replace
from pathlib import Path

from tests.cluster.slurm import PATIENCE, ask, wait_until
from tests.runs.lab import Pipeline

RESULTS = ("data/checkpoints", "data/memory", "metrics/steps", "metrics/summary.json")
SCONTROL = """\
case "$1 $2" in
"show hostnames") echo node1 ;;
"show node") echo NodeAddr=127.0.0.1 ;;
requeue*) touch requeued ;;
esac
"""


def submit(pipeline: Pipeline, shared: Path, lines: str) -> int:
    """Run lines of docs/scale.md for this machine; returns the number of the job."""
    lines = re.sub(r" --gres=gpu:\d+", "", lines).replace("/shared", str(shared))
    (job,) = re.findall(r"^Submitted batch job (\d+)$", pipeline.shell(lines), re.MULTILINE)
    return int(job)


def trains(shared: Path) -> bool:
    """Whether a step is being trained."""
    return any((shared / "scratch").glob("der-*/state"))


def wait_for(job: int) -> None:
    """Return once the job and all its parts have ended, every one of them well."""
    states = ("squeue", "--noheader", "--states=all", "--format=%T", f"--jobs={job}")
    wait_until(lambda: set(ask(*states).split()) == {"COMPLETED"}, 3 * PATIENCE)


def clone_plain(origin: Pipeline, root: Path) -> Pipeline:
    """A clone of the repository that is to run without a cluster."""
    origin.succeed("git", "clone", "--quiet", str(origin.root), str(root))
    return replace(origin, root=root)


def read_log(pipeline: Pipeline, name: str) -> str:
    """What a job has said."""
    path = pipeline.root / f"{name}.log"
    return path.read_text(encoding="utf-8") if path.exists() else ""


def epochs_gone_on_after(log: str, epochs: int) -> list[int]:
    """The epochs of the first step, of ``epochs``, after which a job went on."""
    return [int(epoch) for epoch in re.findall(rf"going on after epoch (\d+) of {epochs}", log)]


def write_programs(directory: Path, path: str, **texts: str) -> dict[str, str]:
    """Write shell scripts by the names of programs; returns the environment of a job, on ``path`` else."""
    directory.mkdir()
    for name, text in texts.items():
        (directory / name).write_text(f"#!/bin/bash\n{text}\n", encoding="utf-8")
        (directory / name).chmod(0o755)
    job = {"SLURM_JOB_ID": "1", "SLURM_NNODES": "1", "SLURM_JOB_NODELIST": "node1"}
    return job | {"PATH": f"{directory}:{path}", "DER_SCRATCH": str(directory)}
