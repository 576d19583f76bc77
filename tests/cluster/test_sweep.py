"""examples/slurm/sweep.sh on a real Slurm: rows side by side, a job killed in the middle, the bytes of plain runs."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.slurm import PATIENCE, ask, missing_programs, slurm, wait_until
from tests.pipeline.lab import Pipeline, digests, make_pipeline

SCRIPT = Path("examples/slurm/sweep.sh")
ROWS = (
    "memory.budget=6",
    "memory.budget=4",
    "train.seed=5 memory.budget=4",
)  # two have their first step in common
LONG = {"train.base.epochs": 150}  # seconds, in which a job can be killed
WAITS = "waiting until it ends"
RESULTS = ("data/checkpoints", "data/memory", "metrics/steps", "metrics/summary.json")

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(bool(missing_programs()), reason="needs Slurm: apt-get install slurm-wlm munge"),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with slurm(tmp_path_factory.mktemp("slurm")):
        yield


@pytest.fixture
def origin(tmp_path: Path) -> Pipeline:
    """A committed pipeline that never ran, with a remote that its clones share."""
    pipeline = make_pipeline(tmp_path / "origin")
    pipeline.edit(**{key.replace(".", "__"): value for key, value in LONG.items()})
    pipeline.succeed("dvc", "remote", "add", "--default", "shared", str(tmp_path / "remote"))
    pipeline.succeed("git", "add", "--force", "data/images")
    pipeline.commit("Images, and a remote")
    return pipeline


def submit(pipeline: Pipeline, *words: str, **environment: str) -> int:
    line = ["sbatch", "--parsable", *words]
    done = subprocess.run(
        line,
        cwd=pipeline.root.parent,
        env=pipeline.environment() | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def result(root: Path) -> dict[str, str]:
    return digests(root, RESULTS)


def test_rows_side_by_side_and_a_job_that_is_killed(cluster: None, origin: Pipeline, tmp_path: Path) -> None:
    rows, clones, scratch = tmp_path / "rows.txt", tmp_path / "clones", tmp_path / "scratch"
    rows.write_text("".join(f"{row}\n" for row in ROWS), encoding="utf-8")
    commit = origin.succeed("git", "rev-parse", "HEAD").strip()
    words = [str(origin.root / SCRIPT), str(origin.root), commit, str(rows), str(clones)]
    job = submit(origin, f"--array=1-{len(ROWS)}", *words, DER_SCRATCH=str(scratch))

    def trains() -> list[Path]:
        return [*scratch.glob("der-*/representation-*.state")]

    def log(row: int) -> str:
        path = tmp_path / f"der-sweep-{job}_{row}.log"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    wait_until(lambda: trains() and (WAITS in log(1) or WAITS in log(2)))
    ask("scontrol", "requeue", f"{job}_{1 if WAITS in log(2) else 2}")  # kills the one that trains
    wait_until(lambda: not ask("squeue", "--noheader", f"--jobs={job}").strip(), 3 * PATIENCE)

    both = log(1) + log(2)
    epochs = [int(epoch) for epoch in re.findall(r"going on after epoch (\d+) of 150", both)]
    assert any(0 < epoch < 150 for epoch in epochs), both  # what was killed went on
    assert 150 in epochs or "Stage 'train_task@1' is cached" in both, both  # the other row took it over
    names = origin.succeed("git", "for-each-ref", "--format=%(refname)", "refs/exps")
    assert all(f"/row-{row}\n" in names for row in range(1, len(ROWS) + 1))
    for row, settings in enumerate(ROWS, start=1):
        plain = replace(origin, root=tmp_path / f"plain-{row}")
        origin.succeed("git", "clone", "--quiet", str(origin.root), str(plain.root))
        plain.edit(**{key.replace(".", "__"): int(value) for key, value in pairs(settings)})
        plain.succeed("dvc", "repro", DER_SCRATCH=str(tmp_path / "other"))
        assert result(clones / str(row)) == result(plain.root), (row, log(row))


def pairs(settings: str) -> list[tuple[str, Any]]:
    return [tuple(setting.split("=")) for setting in settings.split()]  # type: ignore[misc]
