"""The commit's own run and its finished experiments, as one row for every setting, the commit's first.

Runs that differ in nothing but train.seed and protocol.class_order share a row.
"""

import csv
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from der.core.errors import (UserError, csv_cell)
from der.core.files import (atomic_file)
from der.pipeline.dvc import (LOCK, is_recorded)
from der.pipeline.params import (compare, one_line, shorten, value_at)
from der.pipeline.paths import PARAMS, SUMMARY
from der.summary.sweep import METRICS, Row, SweepRun, summarise_runs
from der.summary.text_table import align, show

REPETITION = ("train.seed", "protocol.class_order")
UNFINISHED = ("running", "queued", "failed")  # DVC's words for the states of experiments
OWN_FIRST = "In the first row: the setting of this commit, with its own run."
OWN_LEFT_OUT = (
    f"This commit's own run is left out: {LOCK}, {PARAMS} and {SUMMARY} in it are not of one run; "
    "`dvc repro`, then commit all three."
)
HEADINGS = {"average_top1": "average top-1", "last_top1": "last top-1", "forgetting": "forgetting"}


def compare_experiments(path: Path | None = None) -> str:
    """The table as text; also as a CSV file at ``path``. Raises UserError if no experiment is finished."""
    commit = read_commit()
    baseline, finished, others = sort_experiments(commit)
    notes = [f"{state}: {', '.join(sorted(names))}" for state, names in others.items()]
    if not finished:
        sentence = "; ".join([f"no finished experiment of this commit ({SUMMARY} is no experiment)", *notes])
        raise UserError(f"{sentence}; queue some with `dvc exp run --queue -S ...`, then `dvc queue start`")
    own = [commit["data"]] if _is_finished(commit["data"]) and is_recorded(baseline) else []
    notes.insert(0, OWN_FIRST if own else OWN_LEFT_OUT)
    runs = collect_runs(baseline, [*own, *finished])
    rows = summarise_runs(runs)
    if own:
        rows.sort(key=lambda row: row.setting != runs[0].setting)
    if path is not None:
        write_csv(path, rows)
    return "\n".join([make_table(rows), *notes])


def read_commit() -> Any:
    """The commit that is checked out and its experiments, as `dvc exp show` has them."""
    line = [sys.executable, "-m", "dvc", "exp", "show", "--json"]
    done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"dvc exp show: {' '.join(done.stderr.split()) or 'failed'}")
    _workspace, commit = json.loads(done.stdout)
    return commit


def sort_experiments(commit: Any) -> tuple[Any, list[Any], dict[str, list[str]]]:
    """The commit's parameters, the data of finished experiments, the names of others by their state."""
    baseline = _read_baseline(commit)
    finished = []
    others = defaultdict(list)
    for experiment in commit["experiments"] or []:
        newest = experiment["revs"][0]
        name = newest["name"] or newest["rev"][:7]
        state = (experiment["executor"] or {}).get("state")
        if state in UNFINISHED:
            others[state].append(name)
        elif _is_finished(newest["data"] or {}):
            finished.append(newest["data"])
        else:
            others["without results"].append(name)
    return baseline, finished, others


def _read_baseline(commit: Any) -> Any:
    """The commit's parameters; raises UserError if DVC could not read them."""
    fault = commit["error"] or commit["data"]["params"][str(PARAMS)].get("error")
    if fault:
        raise UserError(f"{PARAMS} of this commit: {fault['msg']}; commit one that can be read")
    return _parameters(commit["data"])


def _parameters(data: Any) -> Any:
    return data["params"][str(PARAMS)]["data"]


def _metrics(data: Any) -> dict[str, Any]:
    metrics: dict[str, Any] = ((data.get("metrics") or {}).get(str(SUMMARY)) or {}).get("data") or {}
    return metrics


def _is_finished(data: Any) -> bool:
    return _metrics(data).keys() >= {"average_top1", "last_top1"}


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
    headings = [*rows[0].setting, "runs"]
    for name in METRICS:
        headings += [HEADINGS[name], "±"]
    lines = [headings]
    for row in rows:
        cells = [*map(shorten, row.setting.values()), str(row.runs)]
        for name in METRICS:
            cells += [show(number) for number in row.metrics[name]]
        lines.append(cells)
    return "\n".join(
        [
            *align(lines),
            "",
            f"Accuracies in percent, forgetting in points: mean and sample standard deviation over "
            f"{' and '.join(REPETITION)}.",
        ]
    )


def write_csv(path: Path, rows: list[Row]) -> None:
    """The same numbers, unrounded; empty where there is none. No value in it is a formula."""
    kinds = ("mean", "deviation")
    headings = [*rows[0].setting, "runs", *(f"{name}_{kind}" for name in METRICS for kind in kinds)]
    with atomic_file(path) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(headings)
        for row in rows:
            numbers = [number for name in METRICS for number in row.metrics[name]]
            values = [_cell(value) for value in row.setting.values()]
            writer.writerow([*values, row.runs, *numbers])


def _cell(value: Any) -> str:
    """A value as YAML; what is no number as a text that is no formula."""
    text = one_line(value)
    return text if isinstance(value, int | float) else csv_cell(text)
