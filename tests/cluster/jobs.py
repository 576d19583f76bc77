"""Jobs of a pipeline on Slurm: how they are submitted, what they say, and when they are over."""

import re
from dataclasses import replace
from pathlib import Path

from tests.cluster.slurm import PATIENCE, ask, wait_until
from tests.runs.lab import Pipeline

RESULTS = ("data/checkpoints", "data/memory", "metrics/steps", "metrics/summary.json")


def submit(pipeline: Pipeline, shared: Path, lines: str) -> int:
    """Run lines of docs/scale.md for this machine; returns the number of the job."""
    lines = re.sub(r" --gres=gpu:\d+", "", lines).replace("/shared", str(shared))
    (job,) = re.findall(r"^Submitted batch job (\d+)$", pipeline.shell(lines), re.MULTILINE)
    return int(job)


def trains(shared: Path) -> bool:
    """Whether a step is being trained."""
    return any((shared / "scratch").glob("der-*/representation-*.state"))


def wait_for(job: int) -> None:
    """Return once the job and all its parts have ended, every one of them well."""
    wait_until(lambda: set(states(job)) == {"COMPLETED"}, 3 * PATIENCE)


def states(job: int) -> list[str]:
    """The state of each part of a job; none if Slurm does not answer."""
    return ask("squeue", "--noheader", "--states=all", "--format=%T", f"--jobs={job}").split()


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
