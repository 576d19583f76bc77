"""plotly's JSON: what plotly takes, and what the description says."""

import json
from dataclasses import replace

import plotly.graph_objects as go
import pytest

from der.report.figures.layout import Plot
from der.report.figures.line_plot import line_plot
from der.report.figures.matrix_plot import matrix_plot
from der.report.finished_run import FinishedRun
from der.summary.charts.accuracy import Curve, accuracy_chart
from der.summary.charts.confusion import confusion_chart
from der.summary.charts.description import Axis
from der.summary.charts.forgetting import accuracy_matrix_chart
from der.summary.charts.training import training_chart
from tests.report.report_runs import ODD_NAMES, make_run

PUBLISHED = [Curve("<i>preset</i>", "A paper", [10, 20], [90.0, 80.0])]
RUNS = {
    "joint": make_run([2]),
    "names": replace(make_run([4, 2], ODD_NAMES), published=PUBLISHED),
    "13 steps": make_run([2] * 13, phases=("representation", "classifier")),
    "50 steps": make_run([2] * 50),
}


def plots(run: FinishedRun) -> list[Plot]:
    confusion = confusion_chart(run.confusion, run.names, [step["classes"] for step in run.steps])
    return [
        line_plot(accuracy_chart(run.summary, run.published)),
        matrix_plot(accuracy_matrix_chart(run.steps)),
        matrix_plot(confusion),
        line_plot(training_chart(run.logs)),
    ]


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_plotly_knows_every_word(run: FinishedRun) -> None:
    for plot in plots(run):
        content = json.loads(json.dumps(plot.content, allow_nan=False))
        go.Figure(content)  # raises ValueError for a property or a value that plotly does not know


def test_lines_are_those_of_the_description() -> None:
    chart = training_chart(RUNS["13 steps"].logs)
    content = line_plot(chart).content
    lines = [line for panel in chart.panels for line in panel.lines]
    *traces, key = content["data"]
    for line, trace in zip(lines, traces, strict=True):
        assert trace["meta"] == line.group and trace["line"]["color"] == line.colour
        assert trace["x"] == line.x and trace["y"] == pytest.approx(line.y, rel=1e-5)
        assert (trace["line"]["dash"] == "solid") == (not line.dashes)
    assert {trace["yaxis"] for trace in traces} == {"y", "y2"}
    assert key["x"] == [None] and content["layout"]["coloraxis"]["cmax"] == 13


def test_measured_and_published_curves_are_told_apart() -> None:
    traces = line_plot(accuracy_chart(RUNS["names"].summary, PUBLISHED)).content["data"]
    assert traces[0]["name"] == "top-1"
    assert traces[-1]["name"] == "published: &lt;i&gt;preset&lt;/i&gt;"
    assert traces[-1]["line"]["dash"] not in {trace["line"]["dash"] for trace in traces[:-1]}


def test_ends_of_an_axis_are_kept() -> None:
    chart = accuracy_chart(RUNS["joint"].summary)
    panel = chart.panels[0]
    for low, high, free in ((0, 1, False), (None, 1, "min"), (0, None, "max")):
        axis = Axis("up", low=low, high=high)
        layout = line_plot(replace(chart, panels=(replace(panel, axis=axis),))).content["layout"]
        assert layout["yaxis"]["range"] == [low, high] and layout["yaxis"]["autorange"] == free


def test_matrices_are_those_of_the_description() -> None:
    run = RUNS["names"]
    chart = confusion_chart(run.confusion, run.names, [step["classes"] for step in run.steps])
    content = matrix_plot(chart).content
    (heatmap,) = content["data"]
    assert heatmap["customdata"] == tuple(map(tuple, run.confusion.tolist()))
    assert heatmap["z"][0] == pytest.approx(chart.values[0], rel=1e-5)
    assert len(content["layout"]["shapes"]) == 2 and content["layout"]["shapes"][0]["y0"] == 3.5
    assert content["layout"]["meta"]["rows"][0] == '&lt;b&gt;&amp;"x"'
    for tones, scheme in ((chart.scale.light, "light"), (chart.scale.dark, "dark")):
        stops = content["layout"]["meta"][scheme]["stops"]
        assert (stops[0], stops[-1]) == ([0, tones.colours[0]], [1, tones.colours[-1]])
        assert stops[5][0] == 0.25  # half of the colours for a quarter of the scale


def test_texts_of_cells_are_escaped() -> None:
    run = RUNS["names"]
    chart = confusion_chart(run.confusion * 1000 + 1, run.names, [6])
    assert chart.texts is not None and any("<1" in row for row in chart.texts)
    (heatmap,) = matrix_plot(chart).content["data"]
    assert any("&lt;1" in row for row in heatmap["text"])
