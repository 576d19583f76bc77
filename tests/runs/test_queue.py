"""A queued sweep with two workers, and the table of its experiments."""

import csv
import json
import re
import time
from collections.abc import Iterator
from statistics import mean, stdev
from typing import Any

import psutil
import pytest

from tests.processes import with_environment
from tests.runs.lab import CHAIN as LENGTH
from tests.runs.lab import Pipeline
from tests.runs.pages import blocks

(MANY,) = blocks("docs/experiments.md", "Many")
# The page's lines without their comments.
CHAIN, QUEUE, START, STATUS, SHOW, COMPARE = (line.partition(" #")[0] for line in MANY.splitlines())
PATIENCE = 200  # seconds until something that should happen counts as not happening
POLL = 1  # seconds; asking DVC costs about as much
METRICS = ("average_top1", "last_top1", "forgetting")


def processes(pipeline: Pipeline) -> list[psutil.Process]:
    """All that were started from the pipeline, however indirectly, and run."""
    mark = "DVC_SITE_CACHE_DIR"
    return with_environment(mark, pipeline.environment()[mark])


def wait_for_end(pipeline: Pipeline) -> None:
    _, alive = psutil.wait_procs(processes(pipeline), PATIENCE)
    assert not alive


@pytest.fixture
def queue(pipeline: Pipeline) -> Iterator[Pipeline]:
    """A pipeline for experiments in copies, none of whose processes outlives the test."""
    pipeline.shell(CHAIN)
    pipeline.chain(LENGTH)  # again, for a longer one takes longer
    # Experiments in copies of the repository have what git has.
    pipeline.succeed("git", "add", "--force", "data/images")
    pipeline.commit("Images")
    yield pipeline
    pipeline.command("dvc", "queue", "stop", "--kill")
    try:
        wait_for_end(pipeline)
    finally:
        for process in processes(pipeline):
            process.kill()


def enqueue(pipeline: Pipeline, *settings: str) -> list[str]:
    """Queue experiments as the page does, with other settings; returns their names."""
    line, *_ = QUEUE.partition(" -S ")
    words = [word for setting in settings for word in ("-S", setting)]
    return re.findall("'(.+)' for future", pipeline.succeed(*line.split(), *words))


def run_queue(pipeline: Pipeline) -> None:
    pipeline.succeed(*START.split())
    end = time.monotonic() + PATIENCE
    while re.search("Queued|Running", pipeline.succeed(*STATUS.split())):
        assert time.monotonic() < end
        time.sleep(POLL)
    pipeline.succeed("dvc", "queue", "stop")
    wait_for_end(pipeline)


def summary(pipeline: Pipeline, name: str) -> Any:
    """What an experiment has committed, or HEAD."""
    pattern = f"refs/exps/*/*/{name}"
    found = pipeline.succeed("git", "for-each-ref", "--format=%(refname)", pattern).split()
    (reference,) = ["HEAD"] if name == "HEAD" else found
    return json.loads(pipeline.succeed("git", "show", f"{reference}:metrics/summary.json"))


def number(cell: str) -> float | None:
    return float(cell) if cell else None


def test_sweep(queue: Pipeline) -> None:
    assert (
        "error: no finished experiment of this commit"
        in queue.command("python", "-m", "der", "compare", PYTHONPATH="src").stderr
    )

    # Two at a time; the budget of one leaves no exemplar for each class, so that it fails.
    good, failing = enqueue(queue, "train.seed=1", "protocol.first_classes=4", "memory.budget=8,3")
    (another,) = enqueue(queue, "train.seed=0", "protocol.first_classes=4")
    (lonely,) = enqueue(queue, "memory.budget=6")
    run_queue(queue)

    shown = queue.succeed(*SHOW.split(), "--csv")
    assert all(name in shown for name in (good, failing, another, lonely))
    printed = queue.shell(COMPARE)
    assert printed.endswith(f"\nfailed: {failing}\n")
    log = queue.succeed("dvc", "queue", "logs", failing)
    assert "error: params.yaml: memory.budget: 3 leaves no exemplar for each of 4 classes" in log

    rows = list(csv.DictReader((queue.root / "sweep.csv").read_text(encoding="utf-8").splitlines()))
    expected = {("8", "2"): ["HEAD"], ("6", "2"): [lonely], ("8", "4"): [good, another]}
    assert [(row["memory.budget"], row["protocol.first_classes"]) for row in rows] == list(expected)
    for row, names in zip(rows, expected.values(), strict=True):
        assert int(row["runs"]) == len(names)
        for metric in METRICS:
            values = [summary(queue, name)[metric] for name in names]
            assert number(row[f"{metric}_mean"]) == (None if None in values else pytest.approx(mean(values)))
            many = len(values) > 1 and None not in values
            assert number(row[f"{metric}_deviation"]) == (pytest.approx(stdev(values)) if many else None)
    one_run = next(line for line in printed.splitlines() if re.match(r" +6 +2 +1 ", line))
    assert one_run.split().count("-") == len(METRICS)
