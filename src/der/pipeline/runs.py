"""Finished runs: metrics of their steps, their table, what changed, all experiments beside each other."""

import csv
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from der.core.errors import DamageError, UserError, csv_cell
from der.core.files import atomic_file, read_json
from der.core.sealed import SealedDirectory
from der.evaluation.metrics import METRICS as STEP_METRICS
from der.evaluation.metrics import StepMetrics
from der.pipeline import paths
from der.pipeline.dvc import LOCK, is_recorded
from der.pipeline.environment import TABLE
from der.pipeline.params import compare, one_line, shorten, value_at
from der.pipeline.paths import MEND, PARAMS, PLOTS, REPORT, SUMMARY, chain_length, digest_files, is_unused
from der.pipeline.provenance import read_committed
from der.summary.series import Summary, align, results_table, show, summarise
from der.summary.verdict import METRICS, POINTS, Row, Spread, SweepRun, describe_changes, summarise_runs

PAGE = f"A page to look at, in any browser: {REPORT}"
NO_PAGE = f"`der report` writes a page to look at, in any browser: {REPORT}"
OTHER_PAGE = f"{REPORT} shows other results; `der report` writes the page of these"
NEXT = f"""Plots: {PLOTS}/*.png, or `dvc plots show`. Everything measured: metrics/steps.
Next: `. .venv/bin/activate`, edit params.yaml, `dvc repro`, `dvc metrics diff`."""

REPETITION = ("train.seed", "protocol.class_order")  # runs that differ in nothing else share a row
UNFINISHED = ("running", "queued", "failed")  # DVC's words for the states of experiments
OWN_FIRST = "In the first row: the setting of this commit, with its own run."
OWN_LEFT_OUT = (
    f"This commit's own run is left out: {LOCK}, {PARAMS} and {SUMMARY} in it are not of one run; "
    "`dvc repro`, then commit all three."
)


def read_steps() -> list[StepMetrics]:
    """Metrics of steps 1..T, T the protocol's last; raises UserError for a file that is missing or damaged.

    In the protocol's order and up to its end, never whatever else lies in the folder: a chain that was
    longer leaves its last steps behind.
    """
    steps: list[StepMetrics] = []
    for step in range(1, chain_length() + 1):
        path = paths.evaluation(step)
        if not path.exists():
            raise UserError(f"{path}: no metrics; run `dvc repro`")
        if is_unused(path):
            break
        steps.append(_read_step(path))
    return steps


def _read_step(path: Path) -> StepMetrics:
    metrics = SealedDirectory(path).read_json(STEP_METRICS)
    if not isinstance(metrics, dict) or not metrics.keys() >= StepMetrics.__required_keys__:
        raise UserError(f"{path / STEP_METRICS}: no metrics of a step; run the step's evaluation again")
    return metrics  # type: ignore[return-value]


def read_summary(steps: list[StepMetrics]) -> Summary:
    """metrics/summary.json, which git has; raises DamageError unless it is that of ``steps``."""
    summary = summarise(steps)
    if read_json(SUMMARY) != summary:
        raise DamageError(f"{SUMMARY}: not of the steps in {paths.evaluation(1).parent}")
    return summary


def digest_results() -> str:
    """A digest of the summary and of all that was measured at its steps, which their page carries."""
    steps = range(1, len(read_json(SUMMARY)["steps"]) + 1)
    folders = [place(step) for place in (paths.evaluation, paths.training) for step in steps]
    return digest_files([SUMMARY, *folders])


def conclude(sentence: str) -> str:
    """What the last stage says: ``sentence``, and the results, unless they are shown later."""
    return sentence if os.environ.get(TABLE) == "later" else f"{sentence}\n{sum_up()}"


def show_results() -> str:
    """``sum_up``, and where to look next."""
    table, page = sum_up(), NO_PAGE
    if REPORT.exists():
        try:
            mine = f'<meta name="results" content="{digest_results()}">'.encode() in REPORT.read_bytes()
        except (OSError, UserError):
            mine = False
        page = PAGE if mine else OTHER_PAGE
    return "\n".join([table + page, NEXT])


def sum_up() -> str:
    """The table of metrics/summary.json, and what changed in it; raises UserError if there is none."""
    if not SUMMARY.exists():
        raise UserError(f"{SUMMARY}: no results yet; run `dvc repro`")
    try:
        summary = read_json(SUMMARY)
    except UserError as error:
        raise UserError(f"{error}; {MEND}") from None
    if not isinstance(summary, dict) or not summary.keys() >= Summary.__required_keys__:
        raise UserError(f"{SUMMARY}: no summary of steps; run `dvc repro`")
    folders = [paths.evaluation(int(step)) for step in summary["steps"]]
    if all(map(Path.exists, folders)):  # a clone may lack them
        read_summary(list(map(_read_step, folders)))
    changes = _list_changes(summary)  # type: ignore[arg-type]
    lines = ["", results_table(summary), ""]  # type: ignore[arg-type]
    lines += ["Since the last commit:", *(f"  {line}" for line in changes), ""] if changes else []
    return "\n".join(lines)


def _list_changes(summary: Summary) -> list[str]:
    """What changed since the last commit; nothing where git has no summary that can be read."""
    try:
        return describe_changes(json.loads(read_committed(SUMMARY)), summary)
    except (ValueError, RecursionError, AttributeError, KeyError, TypeError):  # of another form, or none
        return []


def compare_experiments(path: Path | None = None) -> str:
    """The commit's own run and its finished experiments: a row for every setting, the commit's first.

    As text, and as a CSV file at ``path``. Raises UserError if no experiment is finished.
    """
    commit = read_commit()
    fault = commit["error"] or commit["data"]["params"][str(PARAMS)].get("error")
    if fault:
        raise UserError(f"{PARAMS} of this commit: {fault['msg']}; commit one that can be read")
    finished, others = _sort_experiments(commit["experiments"] or [])
    notes = [f"{state}: {', '.join(sorted(names))}" for state, names in others.items()]
    if not finished:
        sentence = "; ".join([f"no finished experiment of this commit ({SUMMARY} is no experiment)", *notes])
        raise UserError(f"{sentence}; queue some with `dvc exp run --queue -S ...`, then `dvc queue start`")
    baseline = _parameters(commit["data"])
    own = [commit["data"]] if _is_finished(commit["data"]) and is_recorded(baseline) else []
    runs = collect_runs(baseline, [*own, *finished])
    rows = summarise_runs(runs)
    if own:
        rows.sort(key=lambda row: row.setting != runs[0].setting)
    if path is not None:
        write_csv(path, rows)
    return "\n".join([make_table(rows), OWN_FIRST if own else OWN_LEFT_OUT, *notes])


def read_commit() -> Any:
    """The commit that is checked out and its experiments, as `dvc exp show` has them."""
    line = [sys.executable, "-m", "dvc", "exp", "show", "--json"]
    done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"dvc exp show: {' '.join(done.stderr.split()) or 'failed'}")
    _workspace, commit = json.loads(done.stdout)
    return commit


def _sort_experiments(experiments: Iterable[Any]) -> tuple[list[Any], dict[str, list[str]]]:
    """The data of finished experiments, and the names of others by their state."""
    finished = []
    others = defaultdict(list)
    for experiment in experiments:
        newest = experiment["revs"][0]
        name = newest["name"] or newest["rev"][:7]
        state = (experiment["executor"] or {}).get("state")
        if state in UNFINISHED:
            others[state].append(name)
        elif _is_finished(newest["data"] or {}):
            finished.append(newest["data"])
        else:
            others["without results"].append(name)
    return finished, others


def _parameters(data: Any) -> Any:
    return data["params"][str(PARAMS)]["data"]


def _metrics(data: Any) -> Any:
    return ((data.get("metrics") or {}).get(str(SUMMARY)) or {}).get("data") or {}


def _is_finished(data: Any) -> bool:
    return _metrics(data).keys() >= {"average_top1", "last_top1"}  # type: ignore[no-any-return]


def collect_runs(baseline: Any, finished: Iterable[Any]) -> list[SweepRun]:
    """The finished runs by all parameters in which any of them differs from the commit."""
    pairs = [(_parameters(data), _metrics(data)) for data in finished]
    changed = {change.key for parameters, _ in pairs for change in compare(baseline, parameters)}
    setting = sorted(changed.difference(REPETITION))
    return [
        SweepRun(
            {key: value_at(parameters, key) for key in setting},
            {key: value_at(parameters, key) for key in REPETITION},
            {name: metrics.get(name) for name in METRICS},
        )
        for parameters, metrics in pairs
    ]


def make_table(rows: list[Row]) -> str:
    """Aligned lines; "-" where there is no number."""
    lines = [[*rows[0].setting, "runs", *(text for name in METRICS for text in (POINTS[name], "±"))]]
    for row in rows:
        numbers = [show(number) for name in METRICS for number in row.metrics[name]]
        lines.append([*map(shorten, row.setting.values()), str(row.runs), *numbers])
    over = " and ".join(REPETITION)
    note = f"Accuracies in percent, forgetting in points: mean and sample standard deviation over {over}."
    return "\n".join([*align(lines), "", note])


def write_csv(path: Path, rows: list[Row]) -> None:
    """The same numbers, unrounded; empty where there is none. No value in it is a formula."""
    with atomic_file(path) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        numbers = [f"{name}_{kind}" for name in METRICS for kind in Spread._fields]
        writer.writerow([*rows[0].setting, "runs", *numbers])
        for row in rows:
            texts = [
                one_line(value) if isinstance(value, int | float) else csv_cell(one_line(value))
                for value in row.setting.values()
            ]
            writer.writerow([*texts, row.runs, *(one for name in METRICS for one in row.metrics[name])])
