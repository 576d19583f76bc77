"""Reads finished runs: metrics, table, changes, comparison of experiments, and published results."""

import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from der.core.errors import DamageError, UserError, csv_cell
from der.core.files import SealedDirectory, read_json, write_csv
from der.evaluation.results import METRICS, StepMetrics
from der.pipeline import dvc, environment, inputs, presets, project, timing
from der.settings.sections import ProtocolSettings
from der.summary import verdict
from der.summary.series import Curve, Summary, align, results_table, show, summarise

COMPRESSED = ["step", "network", "top-1", "top-5", "NME", "parameters", "bytes", "ms an image"]
PAGE = f"A page to look at, in any browser: {project.REPORT}"
NO_PAGE = f"`der report` writes a page to look at, in any browser: {project.REPORT}"
NO_END = "The last run did not finish: these results are of an earlier one; run `dvc repro`"
OTHER_PAGE = f"{project.REPORT} shows other results; `der report` writes the page of these"
NEXT = f"""Plots: {project.PLOTS}/*.png, or `dvc plots show`. Everything measured: metrics/steps.
Next: `. .venv/bin/activate`, edit params.yaml, `dvc repro`, `dvc metrics diff`."""

WIDE = 1000  # columns, where there is no terminal
REPETITION = ("train.seed", "protocol.class_order")  # runs that differ in nothing else share a row
Finished = tuple[Any, Any]  # parameters and metrics of a run
UNFINISHED = ("running", "queued", "failed")  # DVC's words for the states of experiments
OWN_FIRST = "In the first row: the setting of this commit, with its own run."
OWN_LEFT_OUT = (
    f"This commit's own run is left out: {dvc.LOCK}, {project.PARAMS} and {project.SUMMARY} in it are not of "
    "one run; `dvc repro`, then commit all three."
)


def read_steps() -> list[StepMetrics]:
    """Read metrics of steps 1..T, T the protocol's last; raises UserError for a missing or damaged file.

    It reads only the protocol's steps: the folder may hold later steps of an earlier, longer chain.
    """
    steps: list[StepMetrics] = []
    for step in range(1, project.chain_length() + 1):
        path = project.evaluation(step)
        if not path.exists():
            raise UserError(f"{path}: no metrics; run `dvc repro`")
        if project.is_unused(path):
            break
        steps.append(_read_step(step))
    return steps


def _read_step(step: int) -> StepMetrics:
    path = project.evaluation(step)
    metrics: StepMetrics = SealedDirectory(path).read_json(METRICS)
    if not isinstance(metrics, dict) or not metrics.keys() >= StepMetrics.__required_keys__:
        raise UserError(f"{path / METRICS}: no metrics of a step; run the step's evaluation again")
    if metrics["step"] != step:
        raise DamageError(f"{path}: the metrics of step {metrics['step']}")
    return metrics


def compare_compressed(steps: Iterable[int]) -> str:
    """Make a table with two rows for each compressed network: of the whole one and its own; else ""."""
    rows: list[list[str]] = []
    measures: dict[str, list[list[float]]] = {"whole": [], "compressed": []}
    for step in filter(project.is_compressed, steps):
        time = timing.read_times([f"compress@{step}"]).get(f"compress@{step}")
        for name, one in SealedDirectory(project.compression(step)).read_json(METRICS).items():
            measures[name].append([one["top1"], one["top5"], one["nme"]["top1"]])
            numbers = [f"{one['parameters']:,}", f"{one['checkpoint_bytes']:,}"]
            speed = f"{1000 * time.speeds[name]:.3f}" if time and time.speeds else "-"
            rows.append([str(step), name, *map(show, measures[name][-1]), *numbers, speed])
    for name, several in measures.items() if len(rows) > 2 else ():
        rows.append(["mean", name, *map(show, map(mean, zip(*several, strict=True))), "", "", ""])
    return "\n".join(align([COMPRESSED, *rows], "><>>>>>>")) if rows else ""


def read_summary(steps: list[StepMetrics]) -> Summary:
    """Read metrics/summary.json, which git has; raises DamageError unless it belongs to ``steps``."""
    summary = summarise(steps)
    if read_json(project.SUMMARY) != summary:
        raise DamageError(f"{project.SUMMARY}: not of the steps in {project.evaluation(1).parent}")
    return summary


def digest_results() -> str:
    """Digest the summary and all measurements of its steps; their page carries this digest."""
    steps = range(1, len(read_json(project.SUMMARY)["steps"]) + 1)
    places = project.evaluation, project.training, project.compression
    folders = [place(step) for place in places for step in steps]
    return project.digest_files([project.SUMMARY, *folders])


def conclude(sentence: str) -> str:
    """Return the last stage's text: ``sentence``, and the results unless they are shown later."""
    return sentence if os.environ.get(environment.TABLE) == "later" else f"{sentence}\n{sum_up()}"


def show_results(*, as_json: bool = False) -> str:
    """Return the text of ``sum_up``, and where to look next; or the summary as JSON."""
    if as_json:
        return json.dumps(check_summary(), indent=2)
    table, page = sum_up(), NO_PAGE
    if project.REPORT.exists():
        mark = f'<meta name="results" content="{digest_results()}">'
        page = PAGE if mark.encode() in project.REPORT.read_bytes() else OTHER_PAGE
    steps, left = read_json(project.SUMMARY)["steps"], (project.training, project.memory, project.evaluation)
    there = all(place(int(step)).exists() for step in steps for place in left)
    if project.FINGERPRINTS.exists() and not there:  # a clone in which nothing ran yet lacks all
        page = NO_END  # DVC removed what a stage had left, to run it
    wrong = [f"Not so: {sentence}; run `dvc repro` again" for sentence in dvc.find_misrecorded().values()]
    return "\n".join([table + page, *wrong, NEXT])


def sum_up() -> str:
    """Return the table of metrics/summary.json, at most as wide as the terminal."""
    summary = check_summary()
    lines = ["", results_table(summary, shutil.get_terminal_size((WIDE, 0)).columns), ""]
    if compressed := compare_compressed([int(step) for step in summary["steps"]]):
        lines += ["Compressed into one extractor:", "", compressed, ""]
    return "\n".join(lines)


def check_summary() -> Summary:
    """Read metrics/summary.json; raises UserError if there is none, or it is not of the steps beside it."""
    if not project.SUMMARY.exists():
        raise UserError(f"{project.SUMMARY}: no results yet; run `dvc repro`")
    try:
        summary: Summary = read_json(project.SUMMARY)
    except UserError as error:
        raise UserError(f"{error}; {project.MEND}") from None
    if not isinstance(summary, dict) or not summary.keys() >= Summary.__required_keys__:
        raise UserError(f"{project.SUMMARY}: no summary of steps; run `dvc repro`")
    steps = [int(step) for step in summary["steps"]]
    if all(project.evaluation(step).exists() for step in steps):  # a clone may lack them
        read_summary(list(map(_read_step, steps)))
    return summary


def compare_experiments(path: Path | None = None, *, as_json: bool = False) -> str:
    """Compare the commit's run with its finished experiments, in a row for every setting; ``path``: CSV."""
    commit = read_commit()
    fault = commit["error"] or commit["data"]["params"][str(project.PARAMS)].get("error")
    if fault:
        raise UserError(f"{project.PARAMS} of this commit: {fault['msg']}; commit one that can be read")
    finished, others = _sort_experiments(commit["experiments"] or [])
    notes = [f"{state}: {', '.join(sorted(names))}" for state, names in others.items()]
    if not finished:
        none = f"no finished experiment of this commit ({project.SUMMARY} is no experiment)"
        queue = "queue some with `dvc exp run --queue -S ...`, then `dvc queue start`"
        raise UserError("; ".join([none, *notes, queue]))
    baseline = commit["data"]["params"][str(project.PARAMS)]["data"]
    own = _read_finished(commit["data"]) if dvc.is_recorded(baseline) else None
    found = [own, *finished] if own else finished
    changed = {change.key for parameters, _ in found for change in project.compare(baseline, parameters)}
    setting = sorted(changed.difference(REPETITION))
    runs = [
        verdict.SweepRun(
            {key: project.value_at(parameters, key) for key in setting},
            {key: project.value_at(parameters, key) for key in REPETITION},
            {name: metrics.get(name) for name in verdict.METRICS},
        )
        for parameters, metrics in found
    ]
    rows = verdict.summarise_runs(runs)
    if own:
        rows.sort(key=lambda row: row.setting != runs[0].setting)
    if path is not None:
        write_rows(path, rows)
    if as_json:
        listed = [{"setting": row.setting, "runs": row.runs} for row in rows]
        for one, row in zip(listed, rows, strict=True):
            one |= {name: spread._asdict() for name, spread in row.metrics.items()}
        return json.dumps({"own_first": own is not None, "rows": listed, "others": others}, indent=2)
    return "\n".join([make_table(rows), OWN_FIRST if own else OWN_LEFT_OUT, *notes])


def read_commit() -> Any:
    """Read the current commit and its experiments from `dvc exp show`."""
    line = [sys.executable, "-m", "dvc", "exp", "show", "--json"]
    done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"dvc exp show: {' '.join(done.stderr.split()) or 'failed'}")
    return json.loads(done.stdout)[1]  # after the workspace


def _sort_experiments(experiments: Sequence[Any]) -> tuple[list[Finished], dict[str, list[str]]]:
    """Separate the finished experiments, and name the others by their state."""
    finished, others = [], defaultdict(list)
    for experiment in experiments:
        newest = experiment["revs"][0]
        name = newest["name"] or newest["rev"][:7]
        state = (experiment["executor"] or {}).get("state")
        run = _read_finished(newest["data"])
        if state in UNFINISHED:
            others[state].append(name)
        elif run:
            finished.append(run)
        else:
            others["without results"].append(name)
    return finished, others


def _read_finished(data: Any) -> Finished | None:
    metrics = (((data or {}).get("metrics") or {}).get(str(project.SUMMARY)) or {}).get("data") or {}
    if not metrics.keys() >= {"average_top1", "last_top1"}:
        return None
    return data["params"][str(project.PARAMS)]["data"], metrics


def make_table(rows: list[verdict.Row]) -> str:
    headings = [text for heading in verdict.METRICS.values() for text in (heading, "±")]
    lines = [[*rows[0].setting, "runs", *headings]]
    for row in rows:
        numbers = [show(number) for name in verdict.METRICS for number in row.metrics[name]]
        lines.append([*map(project.shorten, row.setting.values()), str(row.runs), *numbers])
    over = " and ".join(REPETITION)
    note = f"Accuracies in percent, forgetting in points: mean and sample standard deviation over {over}."
    return "\n".join([*align(lines), "", note])


def write_rows(path: Path, rows: list[verdict.Row]) -> None:
    """Write the same numbers unrounded as CSV, empty if missing; no value becomes a formula."""
    numbers = [f"{name}_{kind}" for name in verdict.METRICS for kind in verdict.Spread._fields]
    lines: list[list[object]] = [[*rows[0].setting, "runs", *numbers]]
    for row in rows:
        pairs = [(project.one_line(value), value) for value in row.setting.values()]
        # Only text can be a formula.
        texts = [csv_cell(text) if isinstance(value, str) else text for text, value in pairs]
        lines.append([*texts, row.runs, *(one for name in verdict.METRICS for one in row.metrics[name])])
    write_csv(path, lines)


RESULTS = Path("results")
PUBLISHED = RESULTS / "published.json"
JOINT = "joint"  # the preset of the upper bound
KINDS = {"unpruned": "without pruning", "pruned": "with pruning"}


def published_curves(images: inputs.RunImages, protocol: ProtocolSettings) -> list[Curve]:
    """Return the published curves of presets with these images and this protocol."""
    first, later = protocol.first_classes or 0, protocol.later_classes
    found = [one for one in _find_published(images, protocol) if "top1" in one[2]]
    return [make_curve(name, source, first, later, results["top1"]) for name, source, results in found]


def published_references(images: inputs.RunImages, protocol: ProtocolSettings) -> list[verdict.Reference]:
    """Return published averages and last accuracies, also of results without a curve."""
    found = []
    for name, source, results in _find_published(images, protocol):
        average, last = (verdict.Measured(results[key]) for key in ("average_top1", "last_top1"))
        found.append(verdict.Reference(f"published: {name}", source, average, last))
    return found


def _find_published(images: inputs.RunImages, protocol: ProtocolSettings) -> Iterator[tuple[str, str, Any]]:
    """Find name, source and numbers of each result; presets that share a result are named together."""
    if protocol.steps is not None or protocol.first_classes is None:
        return
    content = read_json(PUBLISHED)
    shared: dict[tuple[str, str], list[str]] = {}
    for name, kinds in content["presets"].items():
        preset = presets.load_preset(name)
        sizes = [preset["protocol"][key] for key in ("first_classes", "later_classes")]
        if sizes == [protocol.first_classes, protocol.later_classes] and images.are_those_of(preset):
            for kind, results in kinds.items():
                shared.setdefault((kind, json.dumps(results)), []).append(name)
    for (kind, text), names in shared.items():
        results = json.loads(text)
        name = f"{' and '.join(names)}, {KINDS[kind]} ({results['source']})"
        yield name, content["sources"][results["source"]], results


def make_curve(name: str, source: str, first: int, later: int, top1: list[float]) -> Curve:
    """Make the curve of a protocol with ``first`` classes at step 1 and ``later`` at each later step."""
    return Curve(name, source, [first + later * index for index in range(len(top1))], top1)


def joint_accuracy(images: inputs.RunImages, classes: int) -> float | None:
    """Return the mean top-1 of recorded joint trainings on all these ``classes``; None if there are none."""
    records = [read_json(path) for path in sorted(RESULTS.glob(f"{JOINT}-*.json"))]
    if not records or classes != len(images.classes) or not images.are_those_of(presets.load_preset(JOINT)):
        return None
    return float(mean(record["metrics"]["last_top1"] for record in records))
