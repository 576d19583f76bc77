"""Makes HTML pages that need no network: one of a finished run, and one that compares several runs.

# T steps, K classes seen after the last one, B test images of these
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from der.core import cost, errors, files
from der.data.arrays import Memory
from der.evaluation.results import Mistakes, Predictions, StepMetrics
from der.report import charts, matrices, thumbnails
from der.summary import verdict
from der.summary.series import Curve, Summary, accuracy_matrix, show_share
from der.train.log import EpochRecord

MOST_PAIRS = 1000  # rows of confused pairs
TURNED = {ord(letter): f"U+{ord(letter):04X}" for letter in errors.TURNS}
LONGEST_WORD = 40  # letters; words of so many have room beside the numbers


@dataclass(frozen=True)
class FinishedRun:
    """The contents of a page on steps 1..T; everything without a step belongs to the last one."""

    summary: Summary
    steps: list[StepMetrics]
    confusions: list[NDArray[np.int64]]  # of every step, (K_k, K_k), true classes down
    names: list[str]  # of classes, in label order
    logs: list[list[EpochRecord]]  # of the training of each step
    memory: Memory
    exemplars: list[NDArray[np.int64]]  # of every step, (K_k,): how many each class has
    predictions: Predictions  # (B,)
    mistakes: list[Mistakes]  # of every step
    published: list[Curve]
    joint: float | None  # top-1 of training on all classes at once
    references: list[verdict.Reference]  # what the results are compared to
    parameters: dict[str, Any]  # nested, as in params.yaml
    source: str  # of the images
    identity: str  # of all images: a SHA-256 over the digests of their files
    preset: str  # the nearest one
    differences: list[tuple[str, str, str]]  # from it: parameter, value of the run and of the preset as text
    seed: int
    revision: str | None  # of the code; None outside of a repository
    stages: list[str]  # that made the results, in the order in which they can run
    times: Mapping[str, cost.StageTime]  # of those whose time is known, in that order
    digest: str  # of the results, by which the page is told from that of others
    compressed: str = ""  # table of compressed networks

    @property
    def images(self) -> NDArray[np.int64]:
        """The number of test images of each class, (K,)."""
        return np.asarray(self.confusions[-1].sum(axis=1))


class Figure(NamedTuple):
    name: str  # in ids
    drawings: dict[str, Markup]  # for wide and for narrow screens
    data: dict[str, Any]  # for the script


class Pair(NamedTuple):
    """Images of one class for which another class was predicted."""

    true: str
    predicted: str
    images: int
    of: int  # the true class has


class ClassRow(NamedTuple):
    label: int
    name: str
    step: int  # that brought it
    images: int  # test images
    accuracy: float  # after the last step
    nme: float  # accuracy by nearest mean of exemplars
    curve: list[tuple[float, float, float, float]]  # of each step from its own on: x, accuracy, its interval
    taken_for: list[Pair]  # the most frequent first


def write_page(page: str, path: Path) -> str:
    with files.atomic_file(path) as partial:
        partial.write_text(page, encoding="utf-8", newline="\n")
    return f"report: {path}, {show_bytes(path.stat().st_size)}"


def render(run: FinishedRun) -> str:
    """Make the page of a run as HTML; the same run gives the same bytes."""
    album = thumbnails.mistake_album(run.mistakes, run.confusions, run.names)
    confusion, confusion_data = confusions(run, album)
    forgetting = matrices.forgetting_chart(run.steps, run.names, run.images.tolist())
    labels_B = np.repeat(np.arange(len(run.names)), run.images)
    bins = verdict.reliability(run.predictions.confidence, run.predictions.predicted == labels_B)
    pairs, figures, times = confused_pairs(run), draw_figures(run, bins), run.times.values()
    items = [[stage, charts.describe_stage(time)] for stage, time in run.times.items()]
    bars = partial(charts.timeline, run.times, len(run.steps))
    timeline = figure("timeline", bars, {"items": items}) if items else None
    computed = sum(time.seconds for time in times if time.computed)
    values = {
        "run": run,
        "last": run.steps[-1],
        "verdict": verdict.judge(run.summary, accuracy_matrix(run.steps)),
        "comparisons": [(one, *verdict.compare(run.summary, one)) for one in run.references],
        "figures": figures,
        "timeline": timeline,
        "confusion": confusion,
        "confusion_steps": len(confusion_data["steps"]),
        "forgetting": forgetting,
        "classes": class_rows(run, pairs),
        "pairs": pairs[:MOST_PAIRS],
        "all_pairs": len(pairs),
        "exemplars": thumbnails.exemplar_sheets(run.memory, len(run.names)),
        "album": album,
        "bins": bins,
        "ece": verdict.expected_calibration_error(bins),
        "least_ece": verdict.least_calibration_error(bins),
        "seconds": (computed, sum(time.seconds for time in times) - computed),
        "untimed": [stage for stage in run.stages if stage not in run.times],
        "devices": list(dict.fromkeys(time.device for time in times if time.torch)),
        "torch": list(dict.fromkeys(time.torch for time in times if time.torch)),
        "measured": {"timeline": timeline.data} if timeline else {},
        "data": {name: one.data for name, one in figures.items()}
        | {"confusion": confusion_data, "accuracy_matrix": forgetting.data},
    }
    return fill("page.html", values)


def fill(template: str, values: dict[str, Any]) -> str:
    environment = Environment(
        loader=PackageLoader("der.report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "bytes": show_bytes,
        "breakable": breakable,
        "time": cost.show_seconds,
        "parameters": show_parameters,
        "share": show_share,
        "value": lambda value: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False),
    }
    environment.globals["error"] = verdict.sampling_error
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}
    # In charts' data as well: a name must not turn the order of the text beside it.
    return environment.get_template(template).render(values).translate(TURNED)


def draw_figures(run: FinishedRun, bins: list[verdict.Bin]) -> dict[str, Figure]:
    sizes = [step["classes"] for step in run.steps]
    every = [(step, record) for step, log in enumerate(run.logs, start=1) for record in log]
    epochs = [f"step {step}, {record.phase}, epoch {record.epoch}" for step, record in every]

    def after(classes: float) -> str:
        step = f"step {sizes.index(int(classes)) + 1}, " if classes in sizes else ""
        return f"{step}{classes:g} {'class' if classes == 1 else 'classes'}"

    shown: dict[str, tuple[charts.Chart, Callable[[float], str], Mapping[str, charts.Size]]] = {
        "accuracy": (charts.accuracy_chart(run.summary, run.published, run.joint), after, charts.PAGE),
        "old_and_new": (charts.old_and_new_chart(run.summary), after, charts.PAGE),
        "reliability": (charts.reliability_chart(bins), "sure of {:.1f} %".format, charts.HALF),
        "memory": (charts.memory_chart(run.exemplars), after, charts.HALF),
        "training": (charts.training_chart(run.logs), lambda epoch: epochs[int(epoch) - 1], charts.PAGE),
    }
    if len(run.steps) == 1:
        del shown["old_and_new"]
    rows = [(name, *one) for name, one in shown.items()]
    return {name: figure(name, chart.spec, chart.places(say), sizes) for name, chart, say, sizes in rows}


def figure(
    name: str,
    spec: Callable[[charts.Size], charts.Spec],
    data: dict[str, Any],
    sizes: Mapping[str, charts.Size] = charts.PAGE,
) -> Figure:
    return Figure(name, {one: Markup(charts.svg(spec(size), size)) for one, size in sizes.items()}, data)


def confusions(run: FinishedRun, album: thumbnails.Album) -> tuple[matrices.Matrix, dict[str, Any]]:
    """Make the confusion after the last step; for the script after all steps, with pictures of mistakes."""
    sizes = [step["classes"] for step in run.steps]
    steps = []
    for step in matrices.kept_steps(len(run.names), len(sizes)):
        counts_KK = run.confusions[step - 1]
        last = matrices.confusion_chart(counts_KK, run.names, sizes, step)
        data = {"step": step, "counts": matrices.sparse(counts_KK), "shots": album.shots[step - 1]}
        steps.append(data | last.pictures)
    return last, {
        "names": run.names,
        "images": run.images.tolist(),
        "sizes": sizes,
        "steps": steps,
        "sheets": [[sheet.side, sheet.pitch, sheet.width, sheet.height] for sheet in album.sheets],
        "columns": thumbnails.COLUMNS,
        "texts": [[shade.light_text, shade.dark_text] for shade in last.shades] if last.texts else None,
    }


def confused_pairs(run: FinishedRun) -> list[Pair]:
    """List all pairs with a confused image, the most frequent first, then in label order."""
    wrong_KK = run.confusions[-1] - np.diag(np.diag(run.confusions[-1]))
    order = np.argsort(-wrong_KK, axis=None, kind="stable")[: np.count_nonzero(wrong_KK)]
    return [
        Pair(run.names[true], run.names[predicted], int(wrong_KK[true, predicted]), int(run.images[true]))
        for true, predicted in zip(*np.unravel_index(order, wrong_KK.shape), strict=True)
    ]


def class_rows(run: FinishedRun, pairs: list[Pair]) -> list[ClassRow]:
    taken_for: dict[str, list[Pair]] = {name: [] for name in run.names}
    for pair in pairs:
        taken_for[pair.true].append(pair)
    last, rows = run.steps[-1], []
    for label, (name, images) in enumerate(zip(run.names, run.images.tolist(), strict=True)):
        step = next(step["step"] for step in run.steps if label < step["classes"])
        accuracy, nme = last["per_class"][name], last["nme"]["per_class"][name]
        curve = []
        for one in run.steps[step - 1 :]:
            x = 48 + 204 * (one["step"] - 1) / (last["step"] - 1) if last["step"] > 1 else 150
            curve.append((x, one["per_class"][name], *verdict.wilson(one["per_class"][name], images)))
        rows.append(ClassRow(label, name, step, images, accuracy, nme, curve, taken_for[name]))
    return rows


def breakable(name: str) -> Markup:
    """Write a name as mark-up that a table may break only within extremely long words."""
    pieces = re.split(rf"(\S{{{LONGEST_WORD}}})(?=\S)", name)
    return Markup("<wbr>").join(piece for piece in pieces if piece)


def show_bytes(count: int) -> str:
    power = next((power for power in range(4) if count < 999.5 * 1000**power), 4)
    return f"{count / 1000**power:.3g} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"


def show_parameters(count: int) -> str:
    """Write a number of weights in the largest unit: "463 k", "1.9 M"."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g} {unit}" if count >= 100 * size else f"{count / size:.1f} {unit}"
    return str(count)


class ComparedRun(NamedTuple):
    name: str  # as it was asked for
    revision: str  # of the commit, short
    summary: Summary
    differing: dict[str, str]  # values of the parameters in which the runs differ, as text, by dotted path


def render_comparison(runs: Sequence[ComparedRun]) -> str:
    """Make the page of several runs as HTML; differences are to the first run."""
    chart = charts.comparison_chart([(run.name, run.summary) for run in runs])
    drawn = figure("comparison", chart.spec, chart.places("{:g} classes".format))
    steps: list[dict[int, verdict.Measured]] = [{} for _ in runs]
    for found, run in zip(steps, runs, strict=True):
        for row in run.summary["steps"].values():
            error = verdict.sampling_error(row["top1"], row["test_images"])
            found[row["classes"]] = verdict.Measured(row["top1"], error)
    values = {
        "runs": runs,
        "figure": drawn,
        "rows": [measures_beside(runs[0], run) for run in runs],
        "parameters": {key: [run.differing[key] for run in runs] for key in runs[0].differing},
        "same_steps": len(set(map(tuple, steps))) == 1,
        # Top-1 of every run, None where it did not stop.
        "steps": {classes: [one.get(classes) for one in steps] for classes in sorted(set().union(*steps))},
        "measured": {},
        "data": {drawn.name: drawn.data},
    }
    return fill("comparison.html", values)


def measures_beside(
    first: ComparedRun, run: ComparedRun
) -> list[tuple[verdict.Measured | None, verdict.Measured | None]]:
    """List average, end and forgetting of a run, each with its difference to the first run's or None."""
    own, others = verdict.judge(run.summary), verdict.judge(first.summary)
    rows = list(zip(own, others, strict=True))
    return [
        (one, verdict.difference(one, other) if one and other and run is not first else None)
        for one, other in rows
    ]
