"""Finished runs: their table, and all experiments beside each other."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from der.core.errors import DamageError, UserError
from der.core.files import sealed_directory, write_json
from der.evaluation.results import METRICS, StepMetrics
from der.pipeline import runs
from der.pipeline.project import SUMMARY, evaluation
from der.pipeline.runs import compare_experiments, conclude, show_results, sum_up, write_rows
from der.summary import verdict
from der.summary.series import results_table, summarise
from der.summary.verdict import SweepRun, summarise_runs
from tests.summary.step_metrics import MATRIX, make_steps

GIT = ["git", "-c", "user.name=Tests", "-c", "user.email=tests@example.org"]
RESULTS = summarise(make_steps(MATRIX, [4, 2, 2]))
PARAMETERS: dict[str, Any] = {
    "protocol": {"class_order": "alphabetical", "later_classes": 2},
    "train": {"seed": 0, "masks": None},
    "memory": {"budget": 200},
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project below the root of no repository, with a summary."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.delenv("DER_TABLE", raising=False)
    write_json(SUMMARY, RESULTS)
    return home


@pytest.mark.usefixtures("place")
def test_programs_get_the_summary_and_narrow_terminals_fewer_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    assert json.loads(show_results(as_json=True)) == RESULTS
    for width in (200, 74, 60, 48, 30):
        monkeypatch.setenv("COLUMNS", str(width))
        rows = sum_up().splitlines()[1:7]
        assert max(map(len, rows)) <= width and rows[0].split()[0] == "step" and "top-1" in rows[0]
    assert rows[0].split() == ["step", "top-1", "old", "new"]


@pytest.mark.usefixtures("place")
def test_the_table_comes_first() -> None:
    assert sum_up() == f"\n{results_table(RESULTS)}\n" and show_results().startswith(sum_up())


@pytest.mark.usefixtures("place")
def test_make_run_shows_the_table_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    assert conclude("report: done") == f"report: done\n{sum_up()}"
    monkeypatch.setenv("DER_TABLE", "later")
    assert conclude("report: done") == "report: done"


@pytest.mark.usefixtures("place")
def test_a_summary_that_is_not_of_the_steps_beside_it() -> None:
    for step in make_steps(MATRIX, [4, 2, 2]):
        with sealed_directory(evaluation(step["step"])) as directory:
            write_json(directory / METRICS, {**dict.fromkeys(StepMetrics.__required_keys__), **step})
    sum_up()
    write_json(SUMMARY, {**RESULTS, "last_top1": 99.0})
    with pytest.raises(DamageError, match=r"^metrics/summary\.json: not of the steps in metrics/steps$"):
        sum_up()
    write_json(SUMMARY, RESULTS)
    evaluation(1).rename("1")
    evaluation(2).rename(evaluation(1))
    Path("1").rename(evaluation(2))
    with pytest.raises(DamageError, match=r"^metrics/steps/1: the metrics of step 2$"):
        sum_up()
    SUMMARY.write_text("{", encoding="utf-8")
    with pytest.raises(
        UserError, match=r"^metrics/summary\.json: cannot be read .+; run `der verify --repair`"
    ):
        show_results()


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


def known(
    monkeypatch: pytest.MonkeyPatch,
    experiments: list[Any] | None,
    own: dict[str, float] | None = None,
    recorded: bool = True,
) -> None:
    """Have DVC know these experiments of a commit, which has the metrics ``own``, perhaps of another run."""
    commit = {**state_of(PARAMETERS, own, "main"), "experiments": experiments}
    monkeypatch.setattr(runs, "read_commit", lambda: json.loads(json.dumps(commit)))
    monkeypatch.setattr(
        "der.pipeline.dvc.is_recorded", lambda parameters: recorded and parameters == PARAMETERS
    )


def test_table_and_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, EXPERIMENTS)
    assert compare_experiments().splitlines() == [
        "memory.budget       train.masks  runs  average top-1     ±  last top-1     ±  forgetting     ±",
        "-------------  ----------------  ----  -------------  ----  ----------  ----  ----------  ----",
        "          100              null     3          73.00  3.00       62.00  2.00        5.00  3.00",
        "          200  {sharpness: 9.0}     1          50.00     -       50.00     -           -     -",
        "",
        "Accuracies in percent, forgetting in points: mean and sample standard deviation over train.seed and "
        "protocol.class_order.",
        runs.OWN_LEFT_OUT,
        "failed: failing",
        "queued: late, later",
        "running: now",
        "without results: 0123456",
    ]


OWN = metrics_of(40, 30, forgetting=1)


def cells(line: str) -> list[str]:
    return line.replace("{sharpness: 9.0}", "masks").split()


def test_the_commits_own_run_is_one_of_its_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seeds = [experiment(None, metrics_of(40 + seed, 30), train={"seed": seed}) for seed in (0, 1, 2)]
    seeds[0] = experiment("the same once more", OWN)
    known(monkeypatch, [*seeds, *EXPERIMENTS[:1]], OWN)
    table = compare_experiments(tmp_path / "table.csv").splitlines()
    assert cells(table[2])[:4] == ["200", "3", "41.00", "1.00"]
    assert [line.split(",")[:2] for line in (tmp_path / "table.csv").read_text().splitlines()[1:]] == [
        ["200", "3"],
        ["100", "1"],
    ]


@pytest.mark.parametrize(("own", "recorded"), [(OWN, False), (None, True), ({"last_top1": 1.0}, True)])
def test_the_commits_own_run_is_left_out_if_it_is_of_other_parameters_or_not_finished(
    own: dict[str, float] | None, recorded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(monkeypatch, EXPERIMENTS[:2], own, recorded)
    lines = compare_experiments().splitlines()
    assert cells(lines[2]) == ["100", "2", "71.50", "2.12", "62.00", "2.83", "6.50", "2.12"]
    assert lines[3] == ""
    assert lines[-1] == (
        "This commit's own run is left out: dvc.lock, params.yaml and metrics/summary.json in it are not of "
        "one run; `dvc repro`, then commit all three."
    )


def test_csv_holds_the_numbers_unrounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    averages = [1 / 3, 2 / 3, 1.0]
    found = [experiment(None, metrics_of(one, 1), train={"seed": one}) for one in averages]
    known(monkeypatch, [*found, *EXPERIMENTS[3:4]])
    compare_experiments(tmp_path / "new" / "table.csv")
    headings, *lines = (tmp_path / "new/table.csv").read_text(encoding="utf-8").splitlines()
    measures = [f"{one}_{kind}" for one in verdict.METRICS for kind in ("mean", "deviation")]
    assert headings.split(",") == ["train.masks", "runs", *measures]
    assert lines[1] == "{sharpness: 9.0},1,50,,50,,,"
    row = lines[0].split(",")
    assert row[:2] == ["null", "3"] and row[6:] == ["", ""]
    expected = [np.mean(averages), np.std(averages, ddof=1), 1, 0]
    assert [float(cell) for cell in row[2:6]] == pytest.approx(expected, abs=1e-15)


def test_json_has_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, EXPERIMENTS)
    found = json.loads(compare_experiments(as_json=True))
    assert not found["own_first"] and found["others"]["queued"] == ["late", "later"]
    first, second = found["rows"]
    assert first["setting"] == {"memory.budget": 100, "train.masks": None} and first["runs"] == 3
    assert first["average_top1"] == {"mean": 73.0, "deviation": 3.0}
    assert second["forgetting"] == {"mean": None, "deviation": None}


def test_no_value_in_csv_is_a_formula(tmp_path: Path) -> None:
    values = ["=1+1", "@a", "a", -1, ["=1"], None]
    settings = [SweepRun({"value": one}, {}, dict.fromkeys(verdict.METRICS, 1.0)) for one in values]
    write_rows(tmp_path / "a.csv", summarise_runs(settings))
    rows = (tmp_path / "a.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert {row.split(",")[0] for row in rows} == {"-1", "'=1+1", "''@a'", "a", "[=1]", "null"}


@pytest.mark.parametrize(
    ("experiments", "sentence"),
    [
        (None, r"^no finished experiment of this commit \(.+\); queue some with"),
        (EXPERIMENTS[4:6], r"; failed: failing; queued: late; queue some"),
    ],
)
def test_no_finished_experiment(
    experiments: list[Any] | None, sentence: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    known(monkeypatch, experiments)
    with pytest.raises(UserError, match=sentence):
        compare_experiments(tmp_path / "table.csv")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("read", [True, False])
def test_a_commit_whose_parameters_cannot_be_read(read: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = {"type": "YAMLFileCorruptedError", "msg": "unable to read: 'params.yaml', corrupted"}
    data = {"params": {"params.yaml": {"error": fault}}} if read else None
    commit = {"name": "main", "experiments": None, "data": data, "error": None if read else fault}
    monkeypatch.setattr(runs, "read_commit", lambda: commit)
    with pytest.raises(UserError) as caught:
        compare_experiments()
    assert str(caught.value) == f"params.yaml of this commit: {fault['msg']}; commit one that can be read"
