"""Comparing runs: metrics of two commits, and experiments in the workspace and in a copy of it."""

import json
from pathlib import Path
from typing import Any

from tests.runs.lab import Pipeline, numbered
from tests.runs.opens import recorded_paths, recording
from tests.runs.pages import blocks

SUMMARY = "metrics/summary.json"
(ONE,) = blocks("docs/experiments.md", "One")


def summary(pipeline: Pipeline) -> Any:
    return json.loads((pipeline.root / SUMMARY).read_text(encoding="utf-8"))


def test_metrics_diff_compares_with_the_last_commit(base: Pipeline, pipeline: Pipeline) -> None:
    assert pipeline.succeed("dvc", "metrics", "diff") == ""
    pipeline.edit(protocol__steps=[["ant", "bee"]])
    printed = pipeline.succeed("dvc", "repro")
    old, new = summary(base), summary(pipeline)
    assert "\nmean  " in printed and "\nSince the last commit:\n  1 step instead of 2\n" in printed
    assert f"\n  last top-1 from {old['last_top1']:.2f} to {new['last_top1']:.2f}, " in printed
    compared = json.loads(pipeline.succeed("dvc", "metrics", "diff", "--all", "--json"))
    assert list(compared) == [SUMMARY]  # the one metrics file
    for name in ("average_top1", "average_top5", "last_top1", "last_top5", "average_nme_top1"):
        assert compared[SUMMARY][name] == {
            "old": old[name],
            "new": new[name],
            "diff": new[name] - old[name],
        }
    assert compared[SUMMARY]["steps.2.top1"]["old"] == old["steps"]["2"]["top1"]
    assert compared[SUMMARY]["steps.2.top1"]["new"] is None


def test_experiment_in_the_workspace(base: Pipeline, pipeline: Pipeline) -> None:
    printed = pipeline.shell(ONE)
    for stage in numbered("E1", "E2", "summarize", "report"):
        assert f"Running stage '{stage}'" in printed
    assert "Running stage 'train_task" not in printed
    changed = "metrics/steps/2/metrics.json"
    assert pipeline.results()[changed] != base.results()[changed]
    assert "group_labels: 3\n" in (pipeline.root / "params.yaml").read_text(encoding="utf-8")


def test_experiment_in_a_copy_uses_the_code_of_the_copy(pipeline: Pipeline, tmp_path: Path) -> None:
    # Images that git does not track are not copied: experiments elsewhere need a path that holds everywhere.
    images = tmp_path / "images"
    (pipeline.root / "data/images").rename(images)
    pipeline.edit(dataset__path=str(images))
    assert pipeline.repro().run == ["check", "download", "report"]
    pipeline.commit("Images outside of the repository")
    before = pipeline.results()

    # An installed der comes from elsewhere: here, from a package that cannot be imported.
    (tmp_path / "installed/der").mkdir(parents=True)
    (tmp_path / "installed/der/__init__.py").write_text("raise ImportError\n", encoding="utf-8")
    setting = "train.incremental.momentum=0.5"
    environment = recording(pipeline, tmp_path / "installed")
    words = ("exp", "run", "--temp", "--name", "calm", "-S", setting)
    printed = pipeline.plain().succeed("dvc", *words, **environment)

    for stage in numbered("T2", "B2", "E2", "summarize", "report"):
        assert f"Running stage '{stage}'" in printed
    assert "Running stage 'train_task@1'" not in printed
    opened = [path for _, path, _ in recorded_paths(pipeline)]
    code = [path for path in opened if "/der/" in path or "/stages/" in path]
    copies = str(pipeline.root.resolve() / ".dvc/tmp/exps/")
    assert code and all(path.startswith(copies) for path in code)
    assert pipeline.results() == before  # the workspace is as it was
    compared = json.loads(pipeline.succeed("dvc", "metrics", "diff", "--json", "HEAD", "calm"))
    assert set(compared[SUMMARY]["steps.2.gamma"]) == {"old", "new", "diff"}
    assert "steps.1.top1" not in compared[SUMMARY]
