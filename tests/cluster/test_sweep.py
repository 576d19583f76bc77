"""docs/scale.md on a real Slurm: rows side by side, one killed as it trains; the bytes of plain runs."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cluster.slurm import PATIENCE, ask, missing_programs, slurm, wait_until
from tests.pipeline.lab import Pipeline, digests, make_pipeline
from tests.pipeline.pages import blocks

SUBMIT, COMPARE = blocks("docs/scale.md", "A sweep on Slurm")
ROWS = (
    "memory.budget=6",
    "memory.budget=4",
    "train.seed=5 memory.budget=4",
)  # two have their first step in common
EPOCHS = 150  # of the first step: seconds, in which a job can be killed
RESULTS = ("data/checkpoints", "data/memory", "metrics/steps", "metrics/summary.json")
WAITS = "waiting until it ends"

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
    pipeline.edit(train__base__epochs=EPOCHS)
    pipeline.succeed("dvc", "remote", "add", "--default", "shared", str(tmp_path / "shared/remote"))
    pipeline.succeed("git", "add", "--force", "data/images")
    pipeline.commit("Images, and a remote")
    return pipeline


def submit(pipeline: Pipeline, shared: Path) -> int:
    """Run the page's lines, for this machine and other rows; returns the number of the job."""
    text = (
        SUBMIT.replace("/shared", str(shared)).replace(" --gres=gpu:1", "").replace("1-2", f"1-{len(ROWS)}")
    )
    lines = text.replace("der chain 7", "der chain 2").splitlines()
    (place,) = (place for place, line in enumerate(lines) if line.startswith("printf"))
    lines[place] = f"printf '%s\\n' {shlex.join(ROWS)} > rows.txt"
    (job,) = re.findall(r"^Submitted batch job (\d+)$", pipeline.shell("\n".join(lines)), re.MULTILINE)
    return int(job)


def values(row: str) -> dict[str, int]:
    """The settings of a row as ``Pipeline.edit`` takes them."""
    pairs = (setting.split("=") for setting in row.split())
    return {key.replace(".", "__"): int(value) for key, value in pairs}


def test_rows_side_by_side_and_one_that_is_killed(cluster: None, origin: Pipeline, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    job = submit(origin, shared)

    def log(row: int) -> str:
        path = origin.root / f"der-sweep-{job}_{row}.log"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def both_are_there() -> bool:
        training = [*(shared / "scratch").glob("der-*/representation-*.state")]
        return bool(training) and any(WAITS in log(row) for row in (1, 2))

    wait_until(both_are_there)
    ask("scontrol", "requeue", f"{job}_{1 if WAITS in log(2) else 2}")  # kills the one that trains
    wait_until(lambda: not ask("squeue", "--noheader", f"--jobs={job}").strip(), 3 * PATIENCE)

    both = log(1) + log(2)
    gone_on = [int(epoch) for epoch in re.findall(rf"going on after epoch (\d+) of {EPOCHS}", both)]
    assert any(0 < epoch < EPOCHS for epoch in gone_on), both  # with what the killed one had trained
    assert EPOCHS in gone_on or "Stage 'train_task@1' is cached" in both, both  # trained once
    for number, row in enumerate(ROWS, start=1):
        plain = replace(origin, root=tmp_path / f"plain-{number}")
        origin.succeed("git", "clone", "--quiet", str(origin.root), str(plain.root))
        plain.edit(**values(row))
        plain.repro(DER_SCRATCH=str(tmp_path / "other"))
        found = digests(shared / "clones" / str(number), RESULTS)
        assert found == digests(plain.root, RESULTS), log(number)
    assert len(re.findall(r"^ +[46] ", origin.shell(COMPARE), re.MULTILINE)) >= 2
