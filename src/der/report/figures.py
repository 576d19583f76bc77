"""The interactive figures, as plotly's descriptions: numbers and layout without any drawing.

Colours that depend on the reader's light or dark scheme are left to the page's script.

# T steps, K classes
"""

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.colors import sequential

from der.evaluation.metrics import StepMetrics
from der.report.labels import axis_labels, figure_text, legend_text
from der.report.run import Curve
from der.summary.palette import COLOURS
from der.summary.series import Summary, accuracy_matrix, accuracy_table

ACCURACIES = {  # column of the accuracy table: legend and marker
    "top1": ("top-1", "circle"),
    "top5": ("top-5", "triangle-up-open"),
    "old": ("top-1, old classes", "triangle-down-open"),
    "new": ("top-1, new classes", "diamond-open"),
    "nme_top1": ("top-1, nearest mean of exemplars", "square-open"),
}
PUBLISHED_COLOURS = ("#7F8A94", "#8F6FE0", "#D6478C", "#B07D2B")
PHASE_COLOURS = (COLOURS["top1"], COLOURS["nme_top1"])
MANY = 20  # beyond so many points or rows there are no markers and no numbers in cells
FEW = 12  # up to so many steps or epochs each has a tick
MANY_DECADES = 5  # beyond so many a logarithmic axis names powers of ten alone
DIGITS = 6  # significant digits of losses
# The square root spreads the low end, where confusions lie.
SHARES = tuple((np.linspace(0, 1, 11) ** 2).round(2).tolist())
# Text of one colour, dark or light as the page's, can be read on either whole scale.
LIGHT_ENDS, DARK_ENDS = ((255, 255, 255), (60, 140, 210)), ((26, 29, 33), (0, 100, 175))
ACCURACY_SCALE = sequential.Viridis[4:]  # on which black can be read
BAR_LENGTH = 200  # pixels
BAR_HEIGHT = 50  # pixels, with its numbers


@dataclass(frozen=True)
class Plot:
    """One figure of the page."""

    name: str  # the id of its element
    content: Any  # plotly's data and layout, ready for JSON
    height: int  # pixels
    min_width: int  # pixels; narrower screens scroll


def accuracy_plot(summary: Summary, published: list[Curve]) -> Plot:
    """Accuracies against the number of classes seen; published curves dashed."""
    table = accuracy_table(summary)
    figure = _figure()
    for column, (label, symbol) in ACCURACIES.items():
        if table[column].notna().any():
            figure.add_scatter(
                x=table["classes"].tolist(),
                y=_numbers(table[column]),
                name=label,
                mode=_mode(len(table)),
                line={"color": COLOURS[column], "width": 3 if column == "top1" else 1.5},
                marker={"symbol": symbol, "size": 8},
            )
    for number, curve in enumerate(published):
        figure.add_scatter(
            x=curve.classes,
            y=curve.top1,
            name=legend_text(f"published: {curve.name}"),
            mode=_mode(len(curve.top1)),
            line={
                "color": PUBLISHED_COLOURS[number % len(PUBLISHED_COLOURS)],
                "width": 2,
                "dash": "dash",
            },
            marker={"symbol": "x-thin-open", "size": 7},
        )
    figure.update_traces(hovertemplate="%{y:.2f} %")
    figure.update_xaxes(title="classes seen", title_standoff=8, hoverformat="d")
    if len(table) <= FEW:
        figure.update_xaxes(tickvals=table["classes"].tolist())
    figure.update_yaxes(title="test accuracy (%)")
    figure.update_layout(hovermode="x unified", legend=_legend_below(-0.18))
    return _plot("figure-accuracy", figure, height=480 + 44 * len(published))


def matrix_plot(steps: list[StepMetrics]) -> Plot:
    """Accuracy after each step (down) on the classes of each step (across)."""
    matrix_TT = accuracy_matrix(steps)
    numbers = [str(number) for number in range(1, len(steps) + 1)]
    figure = _figure()
    figure.add_heatmap(
        z=[_numbers(row) for row in matrix_TT],
        x=numbers,
        y=numbers,
        coloraxis="coloraxis",
        texttemplate="%{z:.1f}" if len(steps) <= MANY else None,
        textfont={"color": "#000000"},
        hoverongaps=False,
        hovertemplate="after step %{y}, classes of step %{x}: %{z:.2f} %<extra></extra>",
        xgap=1,
        ygap=1,
    )
    figure.update_xaxes(title="classes of step", type="category", showgrid=False)
    figure.update_yaxes(title="after step", type="category", autorange="reversed", showgrid=False)
    figure.update_layout(coloraxis={"colorscale": ACCURACY_SCALE, "cmin": 0, "cmax": 100, "colorbar": _bar()})
    side = min(max(34 * len(steps), 260), 640)
    per_column = 40 if len(steps) <= MANY else 8
    return _plot("figure-matrix", figure, side + 110 + BAR_HEIGHT, min_width=per_column * len(steps) + 150)


def confusion_plot(counts_KK: NDArray[np.int64], names: list[str]) -> Plot:
    """The confusion matrix, rows in percent of the true class's images.

    For each cell on hover the page's script joins the count, ``customdata``, with names from ``meta``.
    """
    shares_KK = 100 * counts_KK / np.maximum(counts_KK.sum(axis=1, keepdims=True), 1)
    labels = axis_labels(names)
    figure = _figure()
    written = len(names) <= MANY
    figure.add_heatmap(
        z=shares_KK.round(2).tolist(),
        customdata=counts_KK.tolist(),
        x=labels,
        y=labels,
        coloraxis="coloraxis",
        text=[[str(count or "") for count in row] for row in counts_KK.tolist()] if written else None,
        texttemplate="%{text}" if written else None,
        hovertemplate="true: %{customdata[1]}<br>predicted: %{customdata[2]}<br>%{customdata[0]}, %{z:.1f} %"
        "<extra></extra>",
    )
    figure.update_xaxes(title="predicted class", type="category", tickangle=-90, showgrid=False)
    figure.update_yaxes(title="true class", type="category", autorange="reversed", showgrid=False)
    light, dark = (_scale(*ends) for ends in (LIGHT_ENDS, DARK_ENDS))
    figure.update_layout(
        coloraxis={"colorscale": light, "cmin": 0, "cmax": 100, "colorbar": _bar()},
        meta={"light": light, "dark": dark, "names": [legend_text(name) for name in names]},
    )
    side = min(max(26 * len(names), 320), 860)
    return _plot(
        "figure-confusion", figure, side + 160 + BAR_HEIGHT, min_width=min(max(22 * len(names), 340), 860)
    )


def training_plot(log: pd.DataFrame) -> Plot:
    """Loss and training accuracy by epoch; of all steps, the last one visible.

    Each curve's ``meta`` is its step.
    """
    figure = _figure()
    last = int(log["step"].max())
    phases = list(dict.fromkeys(log["phase"]))
    curves = log.drop_duplicates(["step", "phase"])
    for step, phase in zip(curves["step"].tolist(), curves["phase"], strict=True):
        rows = log[(log["step"] == step) & (log["phase"] == phase)]
        for column, axis in (("loss", "y"), ("accuracy", "y2")):
            figure.add_scatter(
                x=rows["epoch"].tolist(),
                y=[float(f"{value:.{DIGITS}g}") for value in rows[column]],
                name=figure_text(phase),
                legendgroup=phase,
                showlegend=column == "loss" and len(phases) > 1,
                yaxis=axis,
                mode=_mode(len(rows)),
                line={"color": PHASE_COLOURS[phases.index(phase) % len(PHASE_COLOURS)], "width": 2},
                hovertemplate="epoch %{x}: %{y:.4g}" + ("" if column == "loss" else " %"),
                visible=step == last,
                meta=step,
            )
    if log["epoch"].max() <= FEW:
        figure.update_xaxes(dtick=1)
    low, high = log["loss"].min(), log["loss"].max()
    figure.update_layout(
        yaxis={"title": "mean loss per image", "domain": [0.54, 1]},
        yaxis2={"title": "training top-1 (%)", "domain": [0, 0.46]},
        legend=_legend_below(-0.14),
    )
    if low > 0 and high > 10 * low:
        values = _round_values(low, high)
        texts = [f"{value:g}" for value in values]
        figure.update_layout(yaxis={"type": "log", "tickvals": values, "ticktext": texts})
    figure.update_xaxes(title="epoch", title_standoff=8, anchor="y2", tickformat="d")
    return _plot("figure-training", figure, height=560)


def _figure() -> go.Figure:
    return go.Figure(
        layout={
            "template": "none",
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": "system-ui, sans-serif", "size": 13},
            "margin": {"l": 60, "r": 16, "t": 40, "b": 50},
            "showlegend": True,
        }
    )


def _plot(name: str, figure: go.Figure, height: int, min_width: int = 0) -> Plot:
    figure.update_xaxes(automargin=True, zeroline=False)
    figure.update_yaxes(automargin=True, zeroline=False)
    # By way of text in the standard encoder: another one, if installed, writes numbers differently.
    return Plot(name, json.loads(figure.to_json(engine="json")), height, min_width)


def _mode(points: int) -> str:
    return "lines+markers" if points <= MANY else "lines"


def _numbers(values: Any) -> list[float | None]:
    return [None if np.isnan(value) else round(float(value), 4) for value in values]


def _round_values(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten from ``low`` to ``high``; of many decades, the powers alone."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if len(decades) <= MANY_DECADES else (1,)
    # By way of text, which gives the number nearest to what is written.
    values = [float(f"{factor}e{decade}") for decade in decades for factor in factors]
    return [value for value in values if low <= value <= high]


def _legend_below(place: float) -> dict[str, Any]:
    return {"orientation": "h", "x": 0, "y": place, "yanchor": "top"}


def _bar() -> dict[str, Any]:
    """A colour bar above the left end of a figure, where narrow screens show it."""
    return {
        "ticksuffix": " %",
        "orientation": "h",
        "x": 0,
        "xanchor": "left",
        "y": 1,
        "yanchor": "bottom",
        "lenmode": "pixels",
        "len": BAR_LENGTH,
        "thickness": 12,
        "outlinewidth": 0,
    }


def _scale(low: tuple[int, ...], high: tuple[int, ...]) -> list[list[Any]]:
    """A colour scale from ``low`` to ``high`` (RGB) that rises as the square root."""
    scale: list[list[Any]] = []
    for share in SHARES:
        mixed = (round(a + (b - a) * share**0.5) for a, b in zip(low, high, strict=True))
        scale.append([share, f"rgb({', '.join(map(str, mixed))})"])
    return scale
