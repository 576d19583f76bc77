"""Runs compared: the last commit's metrics, experiments in the workspace and in copies, a queued sweep."""

import csv
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.processes import with_environment
from tests.runs.lab import CHAIN as LENGTH
from tests.runs.lab import Pipeline, numbered
from tests.runs.opens import recorded_paths, recording
from tests.runs.pages import blocks

SUMMARY = "metrics/summary.json"
(ONE,) = blocks("docs/experiments.md", "One")
(MANY,) = blocks("docs/experiments.md", "Many")
# The page's lines without their comments.
CHAIN, QUEUE, START, STATUS, SHOW, COMPARE = (line.partition(" #")[0] for line in MANY.splitlines())
PATIENCE = 1800  # seconds until something that should happen counts as not happening
POLL = 4  # seconds; asking DVC takes one of them


def summary(pipeline: Pipeline) -> Any:
    return json.loads((pipeline.root / SUMMARY).read_text(encoding="utf-8"))


def test_in_the_workspace_beside_the_last_commit(base: Pipeline, pipeline: Pipeline) -> None:
    assert pipeline.succeed("dvc", "metrics", "diff") == ""
    pipeline.edit(protocol__steps=[["ant", "bee"]])  # with an experiment's own edit
    printed = pipeline.shell(ONE)
    for stage in numbered("split", "E1", "summarize", "report"):
        assert f"Running stage '{stage}'" in printed
    assert "Running stage 'train_task@1" not in printed
    assert "group_labels: 3\n" in (pipeline.root / "params.yaml").read_text(encoding="utf-8")

    old = summary(base)
    assert "\nmean  " in printed
    compared = json.loads(pipeline.succeed("dvc", "metrics", "diff", "--all", "--json"))
    assert list(compared) == [SUMMARY]  # the one metrics file
    assert compared[SUMMARY]["steps.2.top1"]["old"] == old["steps"]["2"]["top1"]
    assert compared[SUMMARY]["steps.2.top1"]["new"] is None


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


@pytest.mark.torture
def test_sweep(queue: Pipeline, tmp_path: Path) -> None:
    refused = queue.command("python", "-m", "der", "compare", PYTHONPATH="src").stderr
    assert "error: no finished experiment of this commit" in refused

    # Two at a time; the budget of one leaves no exemplar for each class, so that it fails.
    good, failing = enqueue(queue, "train.seed=1", "protocol.first_classes=4", "memory.budget=8,3")
    (another,) = enqueue(queue, "train.seed=0", "protocol.first_classes=4")
    # An installed der comes from elsewhere: here, from a package that cannot be imported.
    (tmp_path / "installed/der").mkdir(parents=True)
    (tmp_path / "installed/der/__init__.py").write_text("raise ImportError\n", encoding="utf-8")
    before = queue.results()
    queue.succeed(*START.split(), **recording(queue, tmp_path / "installed"))
    end = time.monotonic() + PATIENCE
    while re.search("Queued|Running", queue.succeed(*STATUS.split())):
        assert time.monotonic() < end
        time.sleep(POLL)
    queue.succeed("dvc", "queue", "stop")
    wait_for_end(queue)
    assert queue.results() == before  # the workspace is as it was
    opened = [path for _, path, _ in recorded_paths(queue)]
    code = [path for path in opened if "/der/" in path or "/stages/" in path]
    copies = str(queue.root.resolve() / ".dvc/tmp/exps/")
    assert code and all(path.startswith(copies) for path in code)

    shown = queue.succeed(*SHOW.split(), "--csv")
    assert all(name in shown for name in (good, failing, another))
    printed = queue.shell(COMPARE)
    assert printed.endswith(f"\nfailed: {failing}\n")
    log = queue.succeed("dvc", "queue", "logs", failing)
    assert "error: params.yaml: memory.budget: 3 leaves no exemplar for each of 4 classes" in log

    rows = list(csv.DictReader((queue.root / "sweep.csv").read_text(encoding="utf-8").splitlines()))
    assert [(row["protocol.first_classes"], row["runs"]) for row in rows] == [("2", "1"), ("4", "2")]
    assert float(rows[0]["last_top1_mean"]) == pytest.approx(summary(queue)["last_top1"])  # HEAD's own run
    one_run = next(line for line in printed.splitlines() if re.match(r" +2 +1 ", line))
    assert one_run.split().count("-") == 3  # deviations
