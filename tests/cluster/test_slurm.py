"""docs/scale.md on a real Slurm: a chain and a sweep, killed as they train, have the bytes of plain runs."""

import os
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cluster.slurm import NODES, PATIENCE, ask, slurm, wait_until
from tests.runs.lab import Pipeline, digests, make_pipeline
from tests.runs.pages import blocks

(CHAIN,) = blocks("docs/scale.md", "A chain on several nodes")
SWEEP, COMPARE = blocks("docs/scale.md", "A sweep on Slurm")
RESULTS = ("data/checkpoints", "data/memory", "metrics/steps", "metrics/summary.json")
ROWS = ({"memory__budget": 6}, {"memory__budget": 4}, {"train__seed": 5, "memory__budget": 4})
CHAIN_EPOCHS, SWEEP_EPOCHS = 60, 150  # of the first step: seconds, in which a job can be killed
WAITS = "waiting until it ends"

pytestmark = pytest.mark.slurm


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


def test_two_nodes_and_a_requeue(
    cluster: None, origin: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")  # the nodes are this machine
    origin.edit(train__base__epochs=CHAIN_EPOCHS)
    origin.commit("A short chain")
    shared = tmp_path / "shared"
    job = submit(origin, shared, CHAIN.replace(" 8 /shared", " 1 /shared"))
    wait_until(lambda: trains(shared))
    ask("scancel", "--batch", "--signal=USR1", str(job))  # as Slurm itself, before the time limit
    wait_for(job)

    said = read_log(origin, f"der-chain-{job}")
    assert any(0 < epoch < CHAIN_EPOCHS for epoch in epochs_gone_on_after(said, CHAIN_EPOCHS)), said
    plain = clone_plain(origin, tmp_path / "plain")
    plain.repro(DER_SCRATCH=str(tmp_path / "other"), DER_PROCESSES=str(len(NODES)))
    assert digests(shared / "chain", RESULTS) == digests(plain.root, RESULTS), said
    assert "chain" in origin.succeed("dvc", "exp", "list", "--all-commits")


def test_rows_side_by_side_and_one_that_is_killed(cluster: None, origin: Pipeline, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    origin.edit(train__base__epochs=SWEEP_EPOCHS)
    origin.commit("Rows that take a while")
    rows = [" ".join(f"{key.replace('__', '.')}={one}" for key, one in row.items()) for row in ROWS]
    lines = SWEEP.replace("1-2", f"1-{len(ROWS)}").replace("der chain 7", "der chain 3").splitlines()
    (place,) = (place for place, line in enumerate(lines) if line.startswith("printf"))
    lines[place] = f"printf '%s\\n' {shlex.join(rows)} > rows.txt"
    job = submit(origin, shared, "\n".join(lines))

    def log(row: int) -> str:
        return read_log(origin, f"der-sweep-{job}_{row}")

    def both_are_there() -> bool:
        return trains(shared) and any(WAITS in log(row) for row in (1, 2))

    wait_until(both_are_there)
    ask("scontrol", "requeue", f"{job}_{1 if WAITS in log(2) else 2}")  # kills the one that trains
    wait_for(job)

    both = log(1) + log(2)
    gone_on = epochs_gone_on_after(both, SWEEP_EPOCHS)
    assert any(0 < epoch < SWEEP_EPOCHS for epoch in gone_on), both  # with what the killed one had trained
    assert SWEEP_EPOCHS in gone_on or "Stage 'train_task@1' is cached" in both, both  # trained once
    for number, row in enumerate(ROWS, start=1):
        plain = clone_plain(origin, tmp_path / f"plain-{number}")
        plain.edit(**row)
        plain.repro(DER_SCRATCH=str(tmp_path / "other"))
        found = digests(shared / "clones" / str(number), RESULTS)
        assert found == digests(plain.root, RESULTS), log(number)
    assert len(re.findall(r"^ +[46] ", origin.shell(COMPARE), re.MULTILINE)) >= 2
