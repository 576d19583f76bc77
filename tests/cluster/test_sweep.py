"""docs/scale.md on a real Slurm: rows side by side, one killed as it trains; the bytes of plain runs."""

import re
import shlex
from pathlib import Path

import pytest

from tests.cluster.jobs import (
    RESULTS,
    clone_plain,
    epochs_gone_on_after,
    read_log,
    submit,
    trains,
    wait_for,
)
from tests.cluster.slurm import ask, wait_until
from tests.runs.lab import Pipeline, digests
from tests.runs.pages import blocks

SUBMIT, COMPARE = blocks("docs/scale.md", "A sweep on Slurm")
ROWS = (
    "memory.budget=6",
    "memory.budget=4",
    "train.seed=5 memory.budget=4",
)  # two have their first step in common
EPOCHS = 150  # of the first step: seconds, in which a job can be killed
WAITS = "waiting until it ends"

pytestmark = pytest.mark.slurm


def submit_rows(pipeline: Pipeline, shared: Path) -> int:
    """Run the page's lines with other rows; returns the number of the job."""
    lines = SUBMIT.replace("1-2", f"1-{len(ROWS)}").replace("der chain 7", "der chain 2").splitlines()
    (place,) = (place for place, line in enumerate(lines) if line.startswith("printf"))
    lines[place] = f"printf '%s\\n' {shlex.join(ROWS)} > rows.txt"
    return submit(pipeline, shared, "\n".join(lines))


def values(row: str) -> dict[str, int]:
    """The settings of a row as ``Pipeline.edit`` takes them."""
    pairs = (setting.split("=") for setting in row.split())
    return {key.replace(".", "__"): int(value) for key, value in pairs}


def test_rows_side_by_side_and_one_that_is_killed(cluster: None, origin: Pipeline, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    origin.edit(train__base__epochs=EPOCHS)
    origin.commit("Rows that take a while")
    job = submit_rows(origin, shared)

    def log(row: int) -> str:
        return read_log(origin, f"der-sweep-{job}_{row}")

    def both_are_there() -> bool:
        return trains(shared) and any(WAITS in log(row) for row in (1, 2))

    wait_until(both_are_there)
    ask("scontrol", "requeue", f"{job}_{1 if WAITS in log(2) else 2}")  # kills the one that trains
    wait_for(job)

    both = log(1) + log(2)
    gone_on = epochs_gone_on_after(both, EPOCHS)
    assert any(0 < epoch < EPOCHS for epoch in gone_on), both  # with what the killed one had trained
    assert EPOCHS in gone_on or "Stage 'train_task@1' is cached" in both, both  # trained once
    for number, row in enumerate(ROWS, start=1):
        plain = clone_plain(origin, tmp_path / f"plain-{number}")
        plain.edit(**values(row))
        plain.repro(DER_SCRATCH=str(tmp_path / "other"))
        found = digests(shared / "clones" / str(number), RESULTS)
        assert found == digests(plain.root, RESULTS), log(number)
    assert len(re.findall(r"^ +[46] ", origin.shell(COMPARE), re.MULTILINE)) >= 2
