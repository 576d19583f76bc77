"""What a run ends with: the table, and what changed since the last commit."""

import json
import subprocess
from pathlib import Path

import pytest

from der.core.errors import DamageError, UserError
from der.core.files import write_json
from der.core.sealed import sealed_directory
from der.evaluation.metrics import METRICS, StepMetrics
from der.pipeline.overview import conclude, show_results, sum_up
from der.pipeline.paths import SUMMARY, evaluation
from der.summary.series import summarise
from der.summary.text_table import results_table
from tests.summary.step_metrics import MATRIX, make_steps

GIT = ["git", "-c", "user.name=Tests", "-c", "user.email=tests@example.org"]
RESULTS = summarise(make_steps(MATRIX, [4, 2, 2]))


def commit(text: str) -> None:
    """Commit a summary, and leave another one in its place."""
    SUMMARY.write_text(text, encoding="utf-8")
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "Results"]):
        subprocess.run([*GIT, *words], check=True)
    write_json(SUMMARY, RESULTS)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project below the root of no repository, with a summary."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.delenv("DER_TABLE", raising=False)
    write_json(SUMMARY, RESULTS)
    return home


def test_the_changes_follow_the_table() -> None:
    old = {**RESULTS, "average_top1": RESULTS["average_top1"] - 0.5}
    commit(json.dumps(old))
    lines = sum_up().splitlines()
    assert "\n".join(lines).startswith(f"\n{results_table(RESULTS)}\n")
    assert lines[-2:] == [
        "Since the last commit:",
        f"  average top-1 from {old['average_top1']:.2f} to {RESULTS['average_top1']:.2f}, +0.50 points",
    ]
    assert "\n".join(lines) in show_results()


@pytest.mark.parametrize("text", [json.dumps(RESULTS), "", "[]", "null", '{"steps": 1}', "[" * 100_000])
def test_nothing_is_said_where_nothing_changed_or_can_be_compared(text: str) -> None:
    commit(text)
    assert sum_up() == f"\n{results_table(RESULTS)}\n"


def test_without_a_commit_or_a_repository(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sum_up() == f"\n{results_table(RESULTS)}\n"
    subprocess.run([*GIT, "init", "--quiet"], check=True)
    assert sum_up() == f"\n{results_table(RESULTS)}\n"
    monkeypatch.setenv("PATH", str(place))  # no git at all
    assert sum_up() == f"\n{results_table(RESULTS)}\n"


def test_a_project_that_is_a_folder_of_a_repository(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = {**RESULTS, "last_top1": 1.0}
    commit(json.dumps(old))
    monkeypatch.chdir(place)
    Path("inner").mkdir()
    monkeypatch.chdir(place / "inner")
    write_json(SUMMARY, RESULTS)
    assert "Since the last commit" not in sum_up()  # the other folder's results are others


def test_make_run_shows_the_table_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    assert conclude("report: done") == f"report: done\n{sum_up()}"
    monkeypatch.setenv("DER_TABLE", "later")
    assert conclude("report: done") == "report: done"


def test_a_summary_that_is_not_of_the_steps_beside_it() -> None:
    for step in make_steps(MATRIX, [4, 2, 2]):
        with sealed_directory(evaluation(step["step"])) as directory:
            write_json(directory / METRICS, {**dict.fromkeys(StepMetrics.__required_keys__), **step})
    sum_up()
    write_json(SUMMARY, {**RESULTS, "last_top1": 99.0})
    with pytest.raises(DamageError, match=r"^metrics/summary\.json: not of the steps in metrics/steps$"):
        sum_up()


def test_a_summary_that_is_no_json(place: Path) -> None:
    SUMMARY.write_text("{", encoding="utf-8")
    with pytest.raises(
        UserError, match=r"^metrics/summary\.json: cannot be read .+; run `der verify --repair`"
    ):
        show_results()
