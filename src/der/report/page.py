"""The page itself: everything about a run in one HTML file."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from der.common.atomic import atomic_file
from der.report.figures.line_plot import line_plot
from der.report.figures.matrix_plot import matrix_plot
from der.report.finished_run import FinishedRun
from der.report.tables import MOST_PAIRS, class_rows, confused_pairs, parameter_lines, show_bytes
from der.report.thumbnails import exemplar_sheets, mistake_pictures
from der.summary.charts.accuracy import accuracy_chart
from der.summary.charts.confusion import confusion_chart
from der.summary.charts.forgetting import accuracy_matrix_chart
from der.summary.charts.training import training_chart


def write_report(run: FinishedRun, path: Path) -> None:
    """Write the page; the same run gives the same bytes."""
    page = render(run)
    with atomic_file(path) as partial:
        partial.write_text(page, encoding="utf-8", newline="\n")


def render(run: FinishedRun) -> str:
    """The page as HTML."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["bytes"] = show_bytes
    confusion = confusion_chart(run.confusion, run.names, [step["classes"] for step in run.steps])
    plots = {
        "accuracy": line_plot(accuracy_chart(run.summary, run.published)),
        "matrix": matrix_plot(accuracy_matrix_chart(run.steps)),
        "confusion": matrix_plot(confusion),
        "training": line_plot(training_chart(run.logs)),
    }
    pairs = confused_pairs(run.confusion, run.names)
    return environment.from_string(_resource("page.html")).render(
        run=run,
        last=run.steps[-1],
        plots=plots,
        plots_json=script_json({plot.name: plot.content for plot in plots.values()}),
        pairs=pairs[:MOST_PAIRS],
        all_pairs=len(pairs),
        numbered=confusion.texts is not None,
        classes=class_rows(run.confusion, run.names, run.steps),
        exemplars=exemplar_sheets(run.memory, run.names),
        sheets_by_step=_by_step(run),
        mistakes=mistake_pictures(run.mistakes),
        parameters=list(parameter_lines(run.parameters)),
        plotly=Markup(get_plotlyjs()),
        style=Markup(_resource("page.css")),
        script=Markup(_resource("page.js")),
    )


def script_json(value: Any) -> Markup:
    """JSON that can stand in a <script> element, whatever text it holds."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)


def _by_step(run: FinishedRun) -> list[tuple[int, int, int]]:
    """Each step, its first label, and the label after its last."""
    ends = [step["classes"] for step in run.steps]
    return list(zip(range(1, len(ends) + 1), [0, *ends], ends, strict=False))


def _resource(name: str) -> str:
    return files("der.report").joinpath(name).read_text(encoding="utf-8")
