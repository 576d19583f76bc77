"""A queued sweep with two workers, and the table of its experiments."""

import csv
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from statistics import mean, stdev
from typing import Any

import psutil
import pytest
import yaml

from tests.pipeline.lab import Pipeline

PATIENCE = 200  # seconds until something that should happen counts as not happening
POLL = 1  # seconds; asking DVC costs about as much
METRICS = ("average_top1", "last_top1", "forgetting")


def processes(pipeline: Pipeline) -> list[psutil.Process]:
    """All that were started from the pipeline, however indirectly, and run."""
    found = []
    mark = pipeline.environment()["DVC_SITE_CACHE_DIR"]
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("DVC_SITE_CACHE_DIR") == mark:
                found.append(process)
    return found


def wait_for_end(pipeline: Pipeline) -> None:
    _, alive = psutil.wait_procs(processes(pipeline), PATIENCE)
    assert not alive


@pytest.fixture
def queue(pipeline: Pipeline) -> Iterator[Pipeline]:
    """A pipeline for experiments in copies, none of whose processes outlives the test."""
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
    """Queue experiments; returns their names."""
    words = [word for setting in settings for word in ("-S", setting)]
    return re.findall("'(.+)' for future", pipeline.succeed("dvc", "exp", "run", "--queue", *words))


def run_queue(pipeline: Pipeline) -> None:
    pipeline.succeed("dvc", "queue", "start", "-j", "2")
    end = time.monotonic() + PATIENCE
    while re.search("Queued|Running", pipeline.succeed("dvc", "queue", "status")):
        assert time.monotonic() < end
        time.sleep(POLL)
    pipeline.succeed("dvc", "queue", "stop")
    wait_for_end(pipeline)


def committed(pipeline: Pipeline, name: str, path: str) -> Any:
    """A YAML or JSON file of an experiment."""
    reference = pipeline.succeed(
        "git", "for-each-ref", "--format=%(refname)", f"refs/exps/*/*/{name}"
    ).strip()
    return yaml.safe_load(pipeline.succeed("git", "show", f"{reference}:{path}"))


def test_sweep(queue: Pipeline) -> None:
    assert (
        "error: no finished experiment of this commit"
        in queue.command("python", "-m", "stages.compare").stderr
    )

    budgets = enqueue(queue, "train.seed=0,1", "memory.budget=6")
    increments = enqueue(queue, "train.seed=1", "protocol.later_classes=1")  # shares a step 1 with the last
    failing = enqueue(queue, "memory.budget=0")
    assert (len(budgets), len(increments), len(failing)) == (2, 1, 1)
    run_queue(queue)

    shown = queue.succeed("dvc", "exp", "show", "--csv")
    assert all(name in shown for name in (*budgets, *increments, *failing))
    printed = queue.succeed("python", "-m", "stages.compare", "--csv", "table.csv")
    assert printed.endswith(f"\nfailed: {failing[0]}\n")

    # The step that two experiments share is the same in both, whoever trained it.
    first_steps = [
        committed(queue, name, "dvc.lock")["stages"]["train_task@1"] for name in (budgets[1], increments[0])
    ]
    assert first_steps[0] == first_steps[1]

    rows = list(csv.DictReader((queue.root / "table.csv").read_text(encoding="utf-8").splitlines()))
    expected = {("6", "2"): budgets, ("8", "1"): increments}
    assert [(row["memory.budget"], row["protocol.later_classes"]) for row in rows] == list(expected)
    for row, names in zip(rows, expected.values(), strict=True):
        assert int(row["runs"]) == len(names)
        summaries = [committed(queue, name, "metrics/summary.json") for name in names]
        for metric in METRICS:
            values = [summary[metric] for summary in summaries]
            assert float(row[f"{metric}_mean"]) == pytest.approx(mean(values))
            if len(names) > 1:
                assert float(row[f"{metric}_deviation"]) == pytest.approx(stdev(values))
            else:
                assert row[f"{metric}_deviation"] == ""
    one_run = next(line for line in printed.splitlines() if re.match(r" +8 +1 +1 ", line))
    assert one_run.split().count("-") == len(METRICS)
