"""Makes every chart as a Vega-Lite specification, for PNG files and for the page at two widths."""

import math
import textwrap
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, cycle, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import vl_convert
from numpy.typing import NDArray

from der.core import cost, files
from der.evaluation.results import StepMetrics, read_confusion
from der.report.matrices import Matrix, confusion_chart, forgetting_chart, one_line, shortened
from der.summary.series import Curve, Summary, accuracy_matrix, read_logs, summarise, write_tables
from der.summary.verdict import Bin, wilson
from der.train.log import EpochRecord

Spec = dict[str, Any]
Number = float | None

VEGA_LITE = "6.4"  # the newest version that vl-convert 1.9 brings
FONT, LETTERS = "Liberation Sans", 0x530  # comes with vl-convert, and has the letters below

# Colours that the colour-blind can tell apart, and that can be seen on white and on black.
BLUE, BROWN, VERMILION, GREEN, GREY = "#0072B2", "#8C5F31", "#D55E00", "#009E73", "#7F8A94"
PUBLISHED = (GREY, "#8F6FE0", "#D6478C", "#B07D2B")
RUNS = (BLUE, VERMILION, GREEN, "#8F6FE0", BROWN)
PALE, JOINT = "#80B8D8", "#A0508C"  # single runs beside their mean; training on all classes at once
PHASES = (BLUE, "#D6478C")  # learning the representation, and what follows
KINDS = {"training": BLUE, "memory": "#B07D2B", "evaluation": GREEN, "other": GREY}
KIND_OF = {"train_task": "training", "build_memory": "memory", "evaluate": "evaluation"}

SOLID = (1, 0)
DASHES = (SOLID, (8, 4), (2, 3))  # of runs, where their colours begin again
LEAST_SPAN = 20.0  # points of an axis of accuracies: no single image looks like a collapse on it
MOST_LISTED = 12  # values of an axis that each have a tick, and steps that each have a name
MOST_DOTTED = 100  # epochs that each have a dot
MOST_PLACES = 1000  # that can be pointed at
LEFT, RIGHT, NAMES = 40, 12, 56  # pixels beside a plot: for numbers, for nothing, for names of rows
UNITS = ((2 * 3600.0, 3600.0, "hours"), (2 * 60.0, 60.0, "minutes"), (0.0, 1.0, "seconds"))


class Size(NamedTuple):
    """The place and size at which a chart is shown."""

    width: int  # pixels of all
    height: float = 1.0  # of the panels, beside their own
    file: bool = False  # with title, legend beside it
    ink: str = "var(--text)"
    muted: str = "var(--muted)"
    grid: str = "var(--line)"
    font: str = "system-ui, sans-serif"


FILE = Size(660, 0.9, True, "#1A1D21", "#566069", "#D5DAE0", FONT)
PAGE = {"wide": Size(956), "narrow": Size(356, 0.8)}
HALF = {"wide": Size(466), "narrow": Size(356, 0.8)}  # of the page's width, where that is wide


class Line(NamedTuple):
    """A line of a chart, broken where ``y`` is None."""

    name: str  # in the legend; "": not there
    x: Sequence[float]
    y: Sequence[Number]
    colour: str
    width: float = 1.5
    dashes: Sequence[int] = SOLID
    shape: str = ""  # of its points; "": none
    size: float = 40  # of its points, in square pixels
    band: Sequence[tuple[float, float]] = ()  # around it

    def layers(self, y: Spec) -> list[Spec]:
        """Make the line, its points, and its band; a single point gets an error bar."""
        rows: list[Spec] = [{"x": x, "y": value} for x, value in zip(self.x, self.y, strict=True)]
        for row, (low, high) in zip(rows, self.band, strict=False):
            row |= {"low": low, "high": high}
        colour: Spec = {"color": self.colour}
        line = colour | {"type": "line", "strokeWidth": self.width, "strokeDash": self.dashes}
        if self.shape:
            # Of many points each is small; those of thin lines are hollow, since values often coincide.
            size = self.size if len(rows) <= 20 else min(self.size, 8)
            line["point"] = colour | {"shape": self.shape, "size": size, "filled": self.width >= 2}
        if not self.band:
            return [layer(line, rows, y=y)]
        area = {"type": "area", "opacity": 0.18} if len(rows) > 1 else {"type": "errorbar", "ticks": True}
        ends = {"y": y | {"field": "low"}, "y2": {"field": "high"}}
        return [layer(colour | area, rows, **ends), layer(line, rows, y=y)]


class Panel(NamedTuple):
    """Lines with one vertical axis."""

    title: str
    unit: str
    height: int
    lines: Sequence[Line]
    scale: Spec = {}  # noqa: RUF012


class Chart(NamedTuple):
    """Panels above each other, with one horizontal axis."""

    title: str
    axis: str
    ends: tuple[float, float]
    panels: Sequence[Panel]
    ticks: Sequence[float] = ()  # none: as there is room
    steps: Sequence[float] = ()  # where each step ends, if the axis is parted by them

    def spec(self, size: Size) -> Spec:
        views = [self._view(panel, size) for panel in self.panels]
        views[-1]["encoding"]["x"]["axis"] |= {"labels": True, "title": self.axis}
        views[0]["layer"] += _legend([line for panel in self.panels for line in panel.lines], size)
        if self.steps:  # named above the first panel; of many, some by their numbers
            word = "step " if len(self.steps) <= MOST_LISTED / 2 else ""
            ends = pairwise([self.ends[0], *self.steps])
            names = [{"x": sum(pair) / 2, "text": f"{word}{step}"} for step, pair in enumerate(ends, start=1)]
            mark = {"type": "text", "baseline": "bottom", "dy": -4}
            some = names[:: -(-len(names) // MOST_LISTED)]
            views[0]["layer"].append(layer(mark, some, y={"value": 0}, text={"field": "text"}))
        resolve = {"scale": dict.fromkeys(("fill", "stroke", "strokeDash", "shape"), "shared")}
        return _title(self.title, size) | {"vconcat": views, "spacing": 10, "resolve": resolve}

    def _view(self, panel: Panel, size: Size) -> Spec:
        width, height = size.width - LEFT - RIGHT, round(panel.height * size.height)
        scale = {"domain": self.ends, "nice": False, "zero": False}
        ticks = {"values": list(self.ticks)} if self.ticks else {"tickCount": width // 80}
        axis = ticks | {"labels": False, "title": None, "grid": False}
        y = number("y", scale=panel.scale, title=None, axis={"tickCount": max(height // 60, 3)})
        borders = layer({"type": "rule", "color": size.grid}, [{"x": end} for end in self.steps[:-1]])
        return {
            "title": f"{panel.title} ({panel.unit})" if panel.unit else panel.title,
            "width": width,
            "height": height,
            "encoding": {"x": number("x", scale=scale, axis=axis)},
            "layer": [borders, *(one for line in panel.lines for one in line.layers(y))],
        }

    def places(self, say: Callable[[float], str]) -> Spec:
        """Return the script's text for the values at each place of the axis; ``say`` names a place.

        Places are the points of lines with points, if there are any, or a selection of too many.
        """
        lines = [(panel, line) for panel in self.panels for line in panel.lines]
        pointed = [line for _, line in lines if line.shape] or [line for _, line in lines]
        places = sorted({x for line in pointed for x in line.x})
        places = places[:: -(-len(places) // MOST_PLACES)]
        low, high = self.ends
        series = []
        for panel, line in lines:
            name = panel.title if len(self.panels) > 1 else line.name
            known = {x: y for x, y in zip(line.x, line.y, strict=True) if y is not None}
            bands = dict(zip(line.x, line.band, strict=False))
            said: Spec = {"name": name, "unit": panel.unit, "colour": line.colour}
            said["values"] = [rounded(known[x]) if x in known else None for x in places]
            if bands:
                said["band"] = [[*map(rounded, bands[x])] if x in bands else None for x in places]
            series.append(said)
        at = [round((x - low) / (high - low), 5) for x in places]
        return {"at": at, "titles": [say(x) for x in places], "series": series}


def _title(text: str, size: Size, letters: int = 75) -> Spec:
    shown = {"text": textwrap.wrap(text, letters), "fontWeight": "bold", "fontSize": 14, "offset": 14}
    return {"title": shown | {"color": size.ink}} if size.file else {}


def _legend(lines: Sequence[Line], size: Size) -> list[Spec]:
    """Make a layer with only a legend, in which a line of one point is a point; none for a single line."""
    named = {line.name: line for line in lines if line.name}
    if len(named) < 2:
        return []
    names = ["\n".join(textwrap.wrap(name, 24 if size.file else size.width // 8)) for name in named]
    longest = max(len(row) for name in names for row in name.split("\n"))
    ranges: dict[str, list[Any]] = {"fill": [line.colour for line in named.values()]}
    ranges |= {"stroke": ranges["fill"], "strokeDash": [line.dashes for line in named.values()]}
    ranges["shape"] = [line.shape if len(line.x) == 1 else "stroke" for line in named.values()]
    columns = 1 if size.file else max(min(len(names), size.width // (7 * longest + 40)), 1)
    return [key_layer(names, ranges, columns=columns)]


def key_layer(names: Sequence[str], ranges: Mapping[str, Sequence[Any]], **legend: Any) -> Spec:
    """Make a layer that shows only the legend: for each name a value of every channel."""
    legend |= {"title": None, "labelExpr": "split(datum.label, '\\n')"}
    channels = {
        channel: {"field": "name", "scale": {"domain": names, "range": values}, "legend": legend}
        for channel, values in ranges.items()
    }
    rows = [{"name": name} for name in names]
    return layer({"type": "point", "opacity": 0}, rows, x={"value": 0}, y={"value": 0}, **channels)


def layer(mark: Spec, rows: Sequence[Spec], **encoding: Any) -> Spec:
    return {"mark": mark, "data": {"values": rows}, "encoding": encoding}


def number(field: str, **more: Any) -> Spec:
    return {"field": field, "type": "quantitative", **more}


def rounded(value: float) -> float:
    """Round to four significant digits or two decimals, to keep the page small."""
    return round(value, 2) if abs(value) >= 10 else float(f"{value:.4g}")


def config(size: Size) -> Spec:
    text = {"color": size.muted, "fontSize": 12, "fontWeight": "normal"}
    titles = {"titleColor": size.muted, "titleFontSize": 12, "titleFontWeight": "normal", "titlePadding": 8}
    labels = {"labelColor": size.muted, "labelFontSize": 12, "labelPadding": 6}
    key = {"labelColor": size.ink, "labelFontSize": 12, "labelLimit": 0, "columnPadding": 16}
    symbols = {"symbolSize": 160, "symbolOpacity": 1, "symbolStrokeWidth": 2}
    return {
        "font": size.font,
        "background": "#FFFFFF" if size.file else None,
        "padding": 12 if size.file else {"left": 0, "top": 0, "right": 6, "bottom": 4},
        "view": {"stroke": None},
        "text": {"color": size.muted, "fontSize": 11},
        "title": text | {"anchor": "start", "frame": "group", "dx": -LEFT},
        "axis": labels | titles | {"gridColor": size.grid, "ticks": False, "domain": False},
        "axisX": {"domain": True, "domainColor": size.muted, "labelFlush": False},
        "axisY": {"minExtent": LEFT, "maxExtent": LEFT},
        "legend": key | symbols | {"orient": "right" if size.file else "top"},
    }


def draw(spec: Spec, path: Path) -> None:
    """Draw a PNG file, byte-identical for equal specifications."""
    spec = spec | {"config": config(FILE)}
    path.write_bytes(vl_convert.vegalite_to_png(spec, VEGA_LITE, scale=2, allowed_base_urls=[]))


def svg(spec: Spec, size: Size) -> str:
    return vl_convert.vegalite_to_svg(spec | {"config": config(size)}, VEGA_LITE, allowed_base_urls=[])


def accuracy_chart(summary: Summary, published: Sequence[Curve] = (), joint: float | None = None) -> Chart:
    """Show top-1 by classes seen: measured, published, and of training on all classes at once, ``joint``."""
    nearest = "this run, by nearest mean of exemplars"
    lines = [
        measured_line("this run", summary, "top1", BLUE, 2.5, SOLID, "circle"),
        measured_line(nearest, summary, "nme_top1", BROWN, 1.5, (4, 3), "square"),
        *(published_line(curve, index) for index, curve in enumerate(published)),
    ]
    classes = lines[0].x
    if joint is not None:
        name = f"joint training of all {classes[-1]:g} classes"
        lines.append(Line(name, classes[-1:], [joint], JOINT, 2.0, shape="triangle-down", size=110))
    average, last = summary["average_top1"], summary["last_top1"]
    title = f"Average incremental accuracy {average:.2f} %, last {last:.2f} %"
    return over_classes(title, lines)


def old_and_new_chart(summary: Summary) -> Chart:
    """Show the accuracy on the classes of earlier steps and on those of the last one."""
    lines = [
        measured_line("new classes", summary, "new", GREEN, 1.5, (2, 3), "diamond"),
        measured_line("old classes", summary, "old", VERMILION, 2.0, SOLID, "circle"),
    ]
    return over_classes("Top-1 on old and on new classes", lines, "test top-1", 240)


def comparison_chart(runs: Sequence[tuple[str, Summary]]) -> Chart:
    """Show top-1 of each named run by classes seen, with its band."""
    lines = []
    for index, (name, summary) in enumerate(runs):
        look = RUNS[index % len(RUNS)], 2.5, DASHES[index // len(RUNS) % len(DASHES)], "circle"
        lines.append(measured_line(name, summary, "top1", *look))
    return over_classes("Top-1 over all classes seen", lines)


def measured_line(name: str, summary: Summary, measure: str, *style: Any) -> Line:
    """Make the line of a measure by classes seen; for top-1 with Wilson's 95 % intervals."""
    steps = summary["steps"].values()
    values = [step[measure] for step in steps]  # type: ignore[literal-required]
    band = [wilson(step["top1"], step["test_images"]) for step in steps] if measure == "top1" else []
    return Line(name, [float(step["classes"]) for step in steps], values, *style)._replace(band=band)


def published_line(curve: Curve, index: int) -> Line:
    """Make the line of a published curve; ``index`` distinguishes those of one chart."""
    colour, cross = PUBLISHED[index % len(PUBLISHED)], "M-1,-1L1,1M-1,1L1,-1"
    return Line(f"published: {curve.name}", curve.classes, curve.top1, colour, 1.5, (8, 4), cross, 30)


def over_classes(
    title: str, lines: Sequence[Line], axis: str = "test top-1 over all classes seen", height: int = 340
) -> Chart:
    """Show accuracies by classes seen, from the multiple of ten below the lowest to 100 %."""
    lows = [low for line in lines for low, _ in line.band]
    least = min([*lows, *(y for line in lines for y in line.y if y is not None)])
    floor = max(0.0, min(100 - LEAST_SPAN, 10.0 * math.floor((least - 1) / 10)))
    panel = Panel(axis, "%", height, lines, {"domain": [floor, 100 + 0.03 * (100 - floor)]})
    return _by_classes(title, [panel])


def _by_classes(title: str, panels: Sequence[Panel]) -> Chart:
    x = sorted({x for panel in panels for line in panel.lines for x in line.x})
    room, ticks = 0.03 * (x[-1] - x[0]) or 1.0, x if len(x) <= MOST_LISTED else ()
    return Chart(title, "classes seen", (x[0] - room, x[-1] + room), panels, ticks)


def reliability_chart(bins: Sequence[Bin]) -> Chart:
    """Show the accuracy by mean confidence of each bin with its 95 % band, and each bin's images."""
    x, images = [one.confidence for one in bins], sum(one.images for one in bins)
    right, band = [one.accuracy for one in bins], [wilson(one.accuracy, one.images) for one in bins]
    lines = [
        Line("accuracy", x, right, BLUE, 2.0, shape="circle", band=band),
        Line("as sure as right", (0.0, 100.0), (0.0, 100.0), GREY, 1.0, (4, 3)),
    ]
    shares = [100 * one.images / images for one in bins]
    panels = [
        Panel("accuracy", "%", 260, lines, {"domain": [0, 103]}),
        Panel("images", "%", 130, [Line("share of all test images", x, shares, BROWN, shape="square")]),
    ]
    return Chart("Accuracy by confidence after the last step", "confidence (%)", (0.0, 102.0), panels)


def memory_chart(exemplars: Sequence[NDArray[np.int64]]) -> Chart:
    """Show exemplars per class after every step (fewest, mean, most), and of all classes.

    ``exemplars`` has the number for each class seen, after every step.
    """
    x, totals = [float(len(counts)) for counts in exemplars], [float(counts.sum()) for counts in exemplars]
    means = [float(counts.mean()) for counts in exemplars]
    band = [(float(counts.min()), float(counts.max())) for counts in exemplars]
    share = Line("exemplars per class", x, means, KINDS["memory"], 2.0, shape="circle", band=band)
    total = Line("exemplars of all classes", x, totals, GREY, shape="circle")
    panel = Panel("in all", "", 160, [total], {"domain": [0, 1.1 * max(totals)]})
    panels = [Panel("per class", "", 220, [share]), panel]
    return _by_classes("Exemplars per class, and of all classes", panels)


def training_chart(logs: Sequence[Sequence[EpochRecord]]) -> Chart:
    """Show loss, auxiliary loss, accuracy and learning rate of steps 1..T, with a colour per phase."""
    panels = []
    for title, unit, height, measure in (
        ("loss", "", 170, "loss"),
        ("auxiliary loss", "", 120, "auxiliary_loss"),
        ("training top-1", "%", 120, "accuracy"),
        ("learning rate", "", 120, "learning_rate"),
    ):
        lines = _phases(logs, measure)
        values = [y for line in lines for y in line.y if y is not None]
        low, high = min(values, default=0), max(values, default=0)
        scale: Spec = {"zero": low == high}  # a single value makes no axis
        if unit:
            scale = {"zero": False, "domainMax": 102, "nice": False}
        elif 0 < 9.99 * low < high:  # falls to a tenth, in spite of rounding
            scale = {"type": "log", "nice": False, "domain": [rounded(low), rounded(high)]}
        if values:
            panels.append(Panel(title, unit, height, lines, scale))
    steps = [end + 0.5 for end in accumulate(map(len, logs))]
    title = "Training of all steps: loss, auxiliary loss, top-1 on augmented images, learning rate"
    return Chart(title, "epochs of all steps", (0.5, steps[-1]), panels, steps=steps)


def _phases(logs: Sequence[Sequence[EpochRecord]], measure: str) -> list[Line]:
    """Make a line for each phase, broken between steps; there is no auxiliary loss without old classes."""
    points: dict[str, list[tuple[float, Number]]] = {record.phase: [] for log in logs for record in log}
    epoch = 0
    for log in logs:
        for record in log:
            epoch += 1
            value = getattr(record, measure)
            known = not math.isnan(value) and (measure != "auxiliary_loss" or value > 0)
            points[record.phase].append((float(epoch), value if known else None))
        for found in points.values():
            found.append((float(epoch), None))
    shape = "circle" if epoch <= MOST_DOTTED else ""
    return [
        Line(phase, [x for x, _ in found], [y for _, y in found], colour, shape=shape, size=12)
        for (phase, found), colour in zip(points.items(), cycle(PHASES), strict=False)
    ]


def timeline(times: Mapping[str, cost.StageTime], steps: int, size: Size) -> Spec:
    """Show where a run's time went: a row for every step, and one each for the stages before and after.

    ``times`` are the known times of stages, in the order in which they run; stages that the last run did
    not compute are hollow.
    """
    rows = ["before", *(f"step {step}" for step in range(1, steps + 1)), "after"]
    bars: list[Spec] = []
    sums: Counter[str] = Counter()
    for place, (stage, time) in enumerate(times.items()):
        name, _, step = stage.partition("@")
        row = f"step {int(step)}" if step else rows[-1 if name == "summarize" else 0]
        sums[row] += time.seconds  # type: ignore[assignment]
        bar = {"row": row, "seconds": time.seconds, "kind": KIND_OF.get(name, "other"), "place": place}
        bars.append(bar | {"filled": 1.0 if time.computed else 0.22})
    longest = max(sums.values())
    _, unit, label = next(one for one in UNITS if longest >= one[0])
    legend = {"title": None, "symbolType": "square", "symbolStrokeWidth": 0, "columns": size.width // 120}
    kind = {"field": "kind", "scale": {"domain": [*KINDS], "range": [*KINDS.values()]}}
    axis = {"labelOverlap": "greedy", "minExtent": NAMES, "maxExtent": NAMES, "grid": False}
    scale = {"domain": [0, longest / unit], "nice": False}
    encoding = {
        "y": {"field": "row", "title": None, "axis": axis, "scale": {"domain": rows, "paddingInner": 0.38}},
        "x": number("time", title=f"time ({label})", scale=scale, axis={"tickCount": size.width // 110}),
        "order": number("place"),
        "fillOpacity": number("filled", scale=None),
        "fill": kind | {"legend": legend},
        "stroke": kind | {"legend": None},
    }
    return layer({"type": "bar", "strokeWidth": 1}, bars, **encoding) | {
        "transform": [{"calculate": f"datum.seconds / {unit}", "as": "time"}],
        "width": size.width - NAMES - RIGHT,
        "height": max(min(900 // len(rows), 26), 8) * len(rows),
    }


def describe_stage(time: cost.StageTime) -> str:
    computed = "computed by the last run" if time.computed else "taken from the cache"
    parts = f", in {time.runs} parts" if time.runs > 1 else ""
    return f"{cost.show_seconds(time.seconds)}, {computed}{parts}"


def matrix(chart: Matrix) -> Spec:
    count, names = len(chart.names), list(map(axis_name, chart.names, chart.numbers))
    side = min(max(36 * count, 280), 760)
    axis = {"labelExpr": "names[datum.value]", "labelLimit": 400, "grid": False, "domain": False}
    axis |= {"labelFontSize": min(max(side / count / 1.25, 6), 12), "labelOverlap": "greedy"}
    beside, below = {"minExtent": 0, "maxExtent": 400}, {"labelAngle": -90 if max(map(len, names)) > 3 else 0}
    place = {"type": "ordinal", "scale": {"domain": list(range(count)), "padding": 0}}
    cells = [
        {"x": column, "y": row, "colour": shade.light, "text": text, "ink": shade.light_text}
        for row, column, shade, text in chart.cells
    ]
    colour, ink = ({"field": field, "type": "nominal", "scale": None} for field in ("colour", "ink"))
    edge = {"type": "rule", "color": FILE.muted}, [{"x": edge, "y": edge} for edge in chart.edges]
    key = {"fill": [chart.shades[shade].light for _, shade in chart.key]}
    return _title(chart.title, FILE, side // 9 + 16) | {
        "params": [{"name": "names", "value": names}],
        "width": side,
        "height": side,
        "view": {"stroke": FILE.grid},
        "encoding": {
            "x": place | {"field": "x", "title": chart.columns, "axis": axis | below},
            "y": place | {"field": "y", "title": chart.rows, "axis": axis | beside},
        },
        "layer": [
            layer({"type": "rect"}, cells, color=colour),
            layer({"type": "text", "fontSize": 12}, cells, text={"field": "text"}, color=ink),
            layer(*edge, x=place | {"field": "x", "bandPosition": 0}, y=None),
            layer(*edge, y=place | {"field": "y", "bandPosition": 0}, x=None),
            key_layer([text for text, _ in chart.key], key, symbolType="square", symbolStrokeWidth=0),
        ],
    }


def axis_name(name: str, number: str) -> str:
    """Shorten a name for an axis; use ``number`` instead if FONT lacks one of its letters."""
    text = one_line(name)
    known = text and all(ord(letter) < LETTERS for letter in text)
    return shortened(text, 28) if known else number


def write_summary(
    steps: list[StepMetrics],
    last: Path,
    training: list[Path],
    summary_json: Path,
    plots: Path,
    *,
    published: Sequence[Curve] = (),
    joint: float | None = None,
) -> Summary:
    """Write the summary of steps 1..T and return it.

    ``last`` is the directory of the last step's evaluation; ``training`` has the logs of steps 1..T.
    The directory ``plots`` gets four PNG plots and three CSV tables. An error leaves nothing written.
    """
    counts_CC, names = read_confusion(last)
    logs, summary, sizes = read_logs(training), summarise(steps), [one["classes"] for one in steps]
    specs = {
        "accuracy": accuracy_chart(summary, published, joint).spec(FILE),
        "accuracy_matrix": matrix(forgetting_chart(steps, names)),
        "confusion": matrix(confusion_chart(counts_CC, names, sizes, len(steps))),
        "training": training_chart(logs).spec(FILE),
    }
    with files.atomic_directory(plots) as directory:
        write_tables(directory, summary, accuracy_matrix(steps), logs)
        for name, spec in specs.items():
            draw(spec, directory / f"{name}.png")
    files.write_json(summary_json, summary)
    return summary
