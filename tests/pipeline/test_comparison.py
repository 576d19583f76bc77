"""Rows of a sweep against independent arithmetic, and DVC's account of experiments turned into runs."""

import hashlib
import json
import random
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from der.core.errors import UserError
from der.pipeline import comparison
from der.pipeline.dvc import is_recorded
from der.summary.sweep import METRICS, Spread, SweepRun, spread, summarise_runs

PARAMETERS: dict[str, Any] = {
    "protocol": {"class_order": "alphabetical", "later_classes": 2},
    "train": {"seed": 0, "masks": None},
    "memory": {"budget": 200},
}


def make_run(seed: int, average: float | None, **setting: Any) -> SweepRun:
    return SweepRun(setting, {"train.seed": seed}, dict.fromkeys(METRICS, average))


def test_mean_and_sample_deviation() -> None:
    draw = random.Random(0)
    for count in range(2, 9):
        values = [draw.uniform(0, 100) for _ in range(count)]
        assert spread(values) == pytest.approx((np.mean(values), np.std(values, ddof=1)), rel=1e-12)
    assert spread([70.0, 74.0]) == pytest.approx((72, 8**0.5))


def test_one_run_has_no_deviation_and_a_missing_measure_no_mean() -> None:
    assert spread([71.5]) == Spread(71.5, None)
    assert spread([None]) == spread([1.0, None, 2.0]) == Spread(None, None)


def test_runs_of_a_setting_share_a_row_sorted_by_its_values() -> None:
    runs = [make_run(seed, seed + budget, budget=budget) for seed in (1, 2, 3) for budget in (200, 50, 1000)]
    random.Random(0).shuffle(runs)
    rows = summarise_runs(runs)
    assert [(row.setting, row.runs) for row in rows] == [({"budget": one}, 3) for one in (50, 200, 1000)]
    for row in rows:
        assert row.metrics == dict.fromkeys(METRICS, (row.setting["budget"] + 2, 1.0))


def test_settings_of_any_kind_are_told_apart() -> None:
    values = [None, "herding", [["a"], ["b"]], [["a", "b"]], 0.5, 2, True]
    rows = summarise_runs([make_run(0, 1.0, value=value) for value in values])
    assert [row.runs for row in rows] == [1] * len(values)
    assert [row.setting["value"] for row in rows][:3] == [0.5, True, 2]


def test_a_run_made_twice_counts_once() -> None:
    runs = [make_run(1, 70.0), make_run(1, 70.0), make_run(2, 74.0)]
    (row,) = summarise_runs(runs)
    assert (row.runs, row.metrics["last_top1"]) == (2, pytest.approx((72, 8**0.5)))


def state_of(parameters: Any, metrics: Any, name: str | None = None) -> Any:
    """One revision as `dvc exp show --json` has it."""
    files = {"params.yaml": {"data": parameters}, "chain.yaml": {"data": {"steps.1.phase": "base"}}}
    data = {"params": files, "metrics": {"metrics/summary.json": {"data": metrics}} if metrics else None}
    return {"rev": "0123456789", "name": name, "data": data, "error": None}


def experiment(
    name: str | None, metrics: dict[str, float], state: str | None = None, **changes: dict[str, Any]
) -> Any:
    parameters = {section: {**PARAMETERS[section], **changes.get(section, {})} for section in PARAMETERS}
    executor = None if state is None else {"state": state}
    return {"revs": [state_of(parameters, metrics, name)], "executor": executor}


def metrics_of(average: float, last: float, **more: float) -> dict[str, float]:
    return {"average_top1": average, "last_top1": last, **more}


EXPERIMENTS = [
    experiment("a", metrics_of(70, 60, forgetting=5), "success", train={"seed": 1}, memory={"budget": 100}),
    experiment("b", metrics_of(73, 64, forgetting=8), train={"seed": 2}, memory={"budget": 100}),
    experiment(
        "c",
        metrics_of(76, 62, forgetting=2),
        train={"seed": 2},
        memory={"budget": 100},
        protocol={"class_order": [1993]},
    ),
    experiment("d", metrics_of(50, 50), "success", train={"masks": {"sharpness": 9.0}}),
    experiment("failing", metrics_of(1, 1), "failed", memory={"budget": 0}),
    experiment("late", metrics_of(1, 1), "queued"),
    experiment("later", metrics_of(1, 1), "queued"),
    experiment("now", metrics_of(1, 1), "running"),
    experiment(None, {}),
]


def show(
    monkeypatch: pytest.MonkeyPatch,
    experiments: list[Any] | None,
    own: dict[str, float] | None = None,
    recorded: bool = True,
) -> None:
    """Have DVC know these experiments of a commit, which has the metrics ``own``, perhaps of another run."""
    commit = {**state_of(PARAMETERS, own, "main"), "experiments": experiments}
    monkeypatch.setattr(comparison, "read_commit", lambda: json.loads(json.dumps(commit)))
    monkeypatch.setattr(comparison, "is_recorded", lambda parameters: recorded and parameters == PARAMETERS)


def test_table_and_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    show(monkeypatch, EXPERIMENTS)
    assert comparison.compare_experiments().splitlines() == [
        "memory.budget       train.masks  runs  average top-1     ±  last top-1     ±  forgetting     ±",
        "-------------  ----------------  ----  -------------  ----  ----------  ----  ----------  ----",
        "          100              null     3          73.00  3.00       62.00  2.00        5.00  3.00",
        "          200  {sharpness: 9.0}     1          50.00     -       50.00     -           -     -",
        "",
        "Accuracies in percent, forgetting in points: mean and sample standard deviation over train.seed and "
        "protocol.class_order.",
        comparison.OWN_LEFT_OUT,
        "failed: failing",
        "queued: late, later",
        "running: now",
        "without results: 0123456",
    ]


OWN = metrics_of(40, 30, forgetting=1)


def cells(line: str) -> list[str]:
    return line.replace("{sharpness: 9.0}", "masks").split()


def test_the_commit_s_own_run_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    show(monkeypatch, EXPERIMENTS, OWN)
    own, hundred, masks, *_, note, _, _, _, _ = comparison.compare_experiments().splitlines()[2:]
    assert cells(own) == ["200", "null", "1", "40.00", "-", "30.00", "-", "1.00", "-"]
    assert cells(hundred)[:3] == ["100", "null", "3"] and cells(masks)[:3] == ["200", "masks", "1"]
    assert note == "In the first row: the setting of this commit, with its own run."


def test_the_commit_s_own_run_is_one_more_of_its_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seeds = [experiment(None, metrics_of(40 + seed, 30), train={"seed": seed}) for seed in (0, 1, 2)]
    seeds[0] = experiment("the same once more", OWN)
    show(monkeypatch, [*seeds, *EXPERIMENTS[:1]], OWN)
    table = comparison.compare_experiments(tmp_path / "table.csv").splitlines()
    assert cells(table[2])[:4] == ["200", "3", "41.00", "1.00"]
    assert [line.split(",")[:2] for line in (tmp_path / "table.csv").read_text().splitlines()[1:]] == [
        ["200", "3"],
        ["100", "1"],
    ]


@pytest.mark.parametrize(("own", "recorded"), [(OWN, False), (None, True), ({"last_top1": 1.0}, True)])
def test_the_commit_s_own_run_is_left_out_if_it_is_of_other_parameters_or_not_finished(
    own: dict[str, float] | None, recorded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    show(monkeypatch, EXPERIMENTS[:2], own, recorded)
    lines = comparison.compare_experiments().splitlines()
    assert cells(lines[2]) == ["100", "2", "71.50", "2.12", "62.00", "2.83", "6.50", "2.12"]
    assert lines[3] == ""
    assert lines[-1] == (
        "This commit's own run is left out: dvc.lock, params.yaml and metrics/summary.json in it are not of "
        "one run; `dvc repro`, then commit all three."
    )


def commit_run(root: Path, **files: Any) -> None:
    """Commit dvc.lock and summary; ``files`` are the parameters and the summary that the lock is of."""
    parameters, summary = files.get("parameters", PARAMETERS), files.get("summary", "{}")
    hashed = hashlib.md5(summary.encode()).hexdigest()
    dependencies = [{"path": "presets", "md5": "0.dir"}, {"path": "metrics/summary.json", "md5": hashed}]
    report = {"params": {"params.yaml": parameters}, "deps": dependencies}
    lock = {"schema": "2.0", "stages": files.get("stages", {"report": report})}
    (root / "metrics").mkdir(exist_ok=True)
    (root / "dvc.lock").write_text(yaml.safe_dump(lock))
    (root / "metrics/summary.json").write_text("{}")
    name = ["-c", "user.name=Tests", "-c", "user.email=tests@example.org"]
    for words in (["init", "-q"], ["add", "."], [*name, "commit", "-q", "--allow-empty", "-m", "A run"]):
        subprocess.run(["git", *words], cwd=root, check=True)


def test_a_run_is_recorded_if_lock_and_summary_are_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert not is_recorded(PARAMETERS)  # no commit
    commit_run(tmp_path)
    assert is_recorded(PARAMETERS)
    assert not is_recorded({**PARAMETERS, "memory": {"budget": 100}})
    assert not is_recorded({**PARAMETERS, "evaluate": {"group_labels": 1}})
    (tmp_path / "dvc.lock").write_text("of a run that is not committed")
    assert is_recorded(PARAMETERS)
    for other in ({"summary": "[]"}, {"parameters": {"memory": {"budget": 200}}}, {"stages": {}}):
        commit_run(tmp_path, **other)
        assert not is_recorded(PARAMETERS)


def test_csv_holds_the_numbers_unrounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    averages = [1 / 3, 2 / 3, 1.0]
    runs = [experiment(None, metrics_of(one, 1), train={"seed": one}) for one in averages]
    show(monkeypatch, [*runs, *EXPERIMENTS[3:4]])
    comparison.compare_experiments(tmp_path / "new" / "table.csv")
    headings, *lines = (tmp_path / "new/table.csv").read_text(encoding="utf-8").splitlines()
    assert headings == (
        "train.masks,runs,average_top1_mean,average_top1_deviation,last_top1_mean,last_top1_deviation,"
        "forgetting_mean,forgetting_deviation"
    )
    assert lines[1] == "{sharpness: 9.0},1,50,,50,,,"
    row = lines[0].split(",")
    assert row[:2] == ["null", "3"] and row[6:] == ["", ""]
    assert [float(cell) for cell in row[2:6]] == pytest.approx(
        [np.mean(averages), np.std(averages, ddof=1), 1, 0], abs=1e-15
    )


def test_no_value_in_csv_is_a_formula(tmp_path: Path) -> None:
    values = ["=1+1", "@a", "a", -1, ["=1"], None]
    comparison.write_csv(tmp_path / "a.csv", summarise_runs([make_run(0, 1.0, value=one) for one in values]))
    rows = (tmp_path / "a.csv").read_text(encoding="utf-8").splitlines()[1:]
    written = {row.split(",")[0] for row in rows}
    assert written == {"-1", "'=1+1", "''@a'", "a", "[=1]", "null"}


def test_workspace_without_experiments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    show(monkeypatch, None)
    with pytest.raises(UserError, match=r"^no finished experiment of this commit \(.+\); queue some with"):
        comparison.compare_experiments(tmp_path / "table.csv")
    assert not list(tmp_path.iterdir())


def test_no_finished_experiments_names_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    show(monkeypatch, EXPERIMENTS[4:6])
    with pytest.raises(UserError, match=r"; failed: failing; queued: late; queue some"):
        comparison.compare_experiments()


CORRUPTED = {"type": "YAMLFileCorruptedError", "msg": "unable to read: 'params.yaml', corrupted"}
MISSING = {"type": "FileNotFoundError", "msg": "No such file or directory"}


@pytest.mark.parametrize(
    ("state", "fault"),
    [
        ({"data": None, "error": CORRUPTED}, CORRUPTED),
        ({"data": {"params": {"params.yaml": {"error": MISSING}}}, "error": None}, MISSING),
    ],
)
def test_a_commit_whose_parameters_cannot_be_read(
    state: dict[str, Any], fault: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "read_commit", lambda: {"name": "main", "experiments": None, **state})
    with pytest.raises(UserError) as caught:
        comparison.compare_experiments()
    assert str(caught.value) == f"params.yaml of this commit: {fault['msg']}; commit one that can be read"
