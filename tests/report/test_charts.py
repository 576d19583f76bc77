"""Charts: what they show, colours that everyone can tell apart, and files that are the same on every run."""

import re
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from der.core.cost import StageTime
from der.core.files import seal, sealed_directory
from der.evaluation.results import StepMetrics, write_confusion
from der.report import charts
from der.report.charts import (
    FILE,
    PAGE,
    Chart,
    accuracy_chart,
    axis_name,
    describe_stage,
    draw,
    memory_chart,
    old_and_new_chart,
    reliability_chart,
    svg,
    timeline,
    training_chart,
    write_summary,
)
from der.report.matrices import contrast
from der.summary.series import Curve, summarise
from der.summary.verdict import reliability, wilson
from der.train.log import EpochRecord
from tests.locations import ROOT
from tests.summary.step_metrics import MATRIX, make_steps

SUMMARY = summarise(make_steps(MATRIX, [4, 2, 2]))
CURVE = Curve("a preset", "A paper", [4, 6, 8], [90.0, 80.0, 70.0])


def values(chart: Chart) -> list[dict[str, Any]]:
    """What each panel shows, by the lines' names."""
    return [{line.name: list(line.y) for line in panel.lines} for panel in chart.panels]


def test_accuracies_and_their_bands() -> None:
    chart = accuracy_chart(SUMMARY, [CURVE], joint=95.0)
    assert values(chart) == [
        {
            "this run": [89, 78, 92],
            "this run, by nearest mean of exemplars": [88, 76, 89],
            "published: a preset": [90, 80, 70],
            "joint training of all 8 classes": [95],
        }
    ]
    assert chart.title == "Average incremental accuracy 86.33 %, last 92.00 %" and chart.ticks == [4, 6, 8]
    steps = SUMMARY["steps"].values()
    measured, *others = chart.panels[0].lines
    assert measured.band == [wilson(step["top1"], step["test_images"]) for step in steps]
    assert not any(line.band for line in others) and others[-1].x == [8]
    assert values(old_and_new_chart(SUMMARY)) == [
        {"new classes": [90, 80, 95], "old classes": [None, 70, 75]}
    ]


def test_calibration_and_memory() -> None:
    bins = reliability(np.array([0.9, 0.9, 0.55, 0.55]), np.array([True, False, True, True]))
    shown = values(reliability_chart(bins))
    assert shown == [
        {"accuracy": [100, 50], "as sure as right": [0, 100]},
        {"share of all test images": [50, 50]},
    ]
    chart = memory_chart([np.array([5, 5]), np.array([3, 3, 2, 2])])
    assert values(chart) == [{"exemplars per class": [5, 2.5]}, {"exemplars of all classes": [10, 10]}]
    assert chart.panels[0].lines[0].band == [(5, 5), (2, 3)]


def make_log(phases: list[str], loss: float = 1.0, auxiliary: float = 0.0) -> list[EpochRecord]:
    return [
        EpochRecord(phase, epoch, 0.1, loss / epoch, auxiliary, 50.0 + epoch)
        for phase in phases
        for epoch in (1, 2, 3)
    ]


def test_steps_of_training_stand_side_by_side_with_a_line_for_each_phase() -> None:
    logs = [make_log(["representation"]), make_log(["representation", "classifier"], 2.0, 0.5)]
    chart = training_chart(logs)
    titles = ["loss", "auxiliary loss", "training top-1", "learning rate"]
    assert [panel.title for panel in chart.panels] == titles
    points = []
    for panel in chart.panels:
        pairs = {line.name: zip(line.x, line.y, strict=True) for line in panel.lines}
        points.append({name: [one for one in found if one[1] is not None] for name, found in pairs.items()})
    assert points[0] == {
        "representation": [(1, 1), (2, 1 / 2), (3, 1 / 3), (4, 2), (5, 1), (6, 2 / 3)],
        "classifier": [(7, 2), (8, 1), (9, 2 / 3)],
    }
    assert [x for x, _ in points[1]["representation"]] == [4, 5, 6]  # step 1 has no old classes
    assert chart.panels[0].lines[0].y[3] is None  # broken between steps
    assert (chart.ends, chart.steps) == ((0.5, 9.5), [3.5, 9.5])
    for missing in (0.0, float("nan")):
        panels = training_chart([make_log(["representation"], auxiliary=missing)]).panels
        assert [panel.title for panel in panels] == [titles[0], *titles[2:]]
        assert panels[-1].scale["zero"]  # of a rate that is constant


def took(seconds: float, *, computed: bool = True, runs: int = 1) -> StageTime:
    return StageTime(seconds, runs, None, "a processor (cpu)", None, computed)


def test_stages_stand_behind_each_other_in_the_row_of_their_step() -> None:
    times = {
        "download": took(2, computed=False),
        "split": took(1, computed=False),
        "train_task@1": took(60),
        "build_memory@1": took(5),
        "summarize": took(3),
    }
    spec = timeline(times, 1, PAGE["wide"])
    assert [tuple(bar.values()) for bar in spec["data"]["values"]] == [
        ("before", 2, "other", 0, 0.22),
        ("before", 1, "other", 1, 0.22),
        ("step 1", 60, "training", 2, 1),
        ("step 1", 5, "memory", 3, 1),
        ("after", 3, "other", 4, 1),
    ]
    assert describe_stage(took(60, computed=False)) == "1 min 0 s, taken from the cache"
    assert describe_stage(took(90, runs=3)) == "1 min 30 s, computed by the last run, in 3 parts"


def test_the_page_says_what_lines_show_at_every_place() -> None:
    chart = accuracy_chart(SUMMARY, [CURVE], joint=77.777)
    said = chart.places("{:g} classes".format)
    assert said["titles"] == ["4 classes", "6 classes", "8 classes"] and said["at"] == sorted(said["at"])
    assert said["series"][0]["values"] == [89, 78, 92] and len(said["series"][0]["band"]) == 3
    assert said["series"][-1]["values"] == [None, None, 77.78] and "band" not in said["series"][-1]
    log = make_log(["representation"])
    loss, *_ = training_chart([log, log]).places(str)["series"]
    assert loss["values"] == [1, 0.5, 0.3333] * 2  # to the last epoch of a step
    many = training_chart([make_log(["representation"]) * 1000])
    assert 500 <= len(many.places(str)["at"]) <= charts.MOST_PLACES


@pytest.mark.slow
def test_a_drawing_has_the_colours_of_its_page_and_repeats_to_the_byte(tmp_path: Path) -> None:
    chart = accuracy_chart(SUMMARY, [CURVE], joint=77.0)
    for size in PAGE.values():
        text = svg(chart.spec(size), size)
        assert text == svg(chart.spec(size), size) and "published: a preset" in text
        assert set(re.findall(r"var\([^)]*\)", text)) == {"var(--text)", "var(--muted)", "var(--line)"}
        assert "url(" not in text and 'id="' not in text  # what two drawings in a page would share
    draw(chart.spec(FILE), tmp_path / "chart.png")
    first = (tmp_path / "chart.png").read_bytes()
    draw(chart.spec(FILE), tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes() == first


def in_style(name: str) -> list[str]:
    """A colour of the page, light and dark."""
    style = (ROOT / "src/der/report/page/page.css").read_text(encoding="utf-8")
    return re.findall(rf"--{name}: (#\w+);", style)[:2]


def test_lines_and_text_stand_out_from_light_and_dark_pages() -> None:
    lines = {*charts.PUBLISHED, *charts.RUNS, charts.JOINT, *charts.PHASES, *charts.KINDS.values()}
    for page, text, muted in zip(in_style("page"), in_style("text"), in_style("muted"), strict=True):
        assert min(contrast(page, colour) for colour in lines) >= 3
        assert min(contrast(page, text), contrast(page, muted)) >= 4.5
    for name, colour in {"text": FILE.ink, "muted": FILE.muted, "line": FILE.grid}.items():
        assert in_style(name)[0].upper() == colour


# Machado et al. 2009, full deficiency: how people who lack a kind of cone see linear RGB.
SIGHTS = {
    "all": np.eye(3),
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}
XYZ = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]


@pytest.mark.parametrize("sight", SIGHTS)
def test_the_colour_blind_tell_the_accuracies_apart(sight: str) -> None:
    def lab(colour: str) -> np.ndarray:
        rgb = np.array(list(bytes.fromhex(colour[1:]))) / 255
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        seen = np.clip(SIGHTS[sight] @ linear, 0, 1)
        x, y, z = np.cbrt(XYZ @ seen / np.array([0.9505, 1, 1.089]))
        return np.array([116 * y, 500 * (x - y), 200 * (y - z)])

    for one, other in combinations((charts.BLUE, charts.BROWN, charts.VERMILION, charts.GREEN), 2):
        assert np.linalg.norm(lab(one) - lab(other)) > 15, (one, other)  # CIE76; about 2 can be told apart


def test_names_on_axes_are_short_and_drawable() -> None:
    names = ["x" * 28, "a name of more than twenty-eight letters", "猫", "two\nlines", "Cafe\u0301", "$x$"]
    assert [axis_name(name, f"label {label}") for label, name in enumerate(names)] == [
        *("x" * 28, "a name of more…eight letters", "label 2", "two lines", "Caf\u00e9", "$x$")
    ]


PLOTS = ["accuracy.png", "accuracy_matrix.png", "confusion.png", "training.png"]
TABLES = ["accuracy.csv", "accuracy_matrix.csv", "training.csv"]


def write_inputs(folder: Path, sizes: list[int], names: list[str]) -> list[StepMetrics]:
    """Write the last evaluation and the training logs 1, 2, ...; return the metrics of the steps."""
    rng = np.random.default_rng(0)
    with sealed_directory(folder / "last") as directory:
        write_confusion(directory, rng.integers(0, 9, (len(names), len(names))), names)
    for step in range(1, len(sizes) + 1):
        rows = [f"representation,{epoch},0.1,{3.3 / 10**epoch},,{50 + epoch}\n" for epoch in (1, 2, 3)]
        (folder / str(step)).mkdir()
        head = "phase,epoch,learning_rate,loss,auxiliary_loss,accuracy\n"
        (folder / str(step) / "log.csv").write_text(head + "".join(rows))
        seal(folder / str(step), {})
    matrix = [rng.uniform(0, 100, size=k).round(4).tolist() for k in range(1, len(sizes) + 1)]
    return make_steps(matrix, sizes)


def summarise_folder(folder: Path, steps: list[StepMetrics], plots: Path) -> None:
    logs = [folder / str(k) for k in range(1, len(steps) + 1)]
    write_summary(steps, folder / "last", logs, folder / "summary.json", plots)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 24])
def test_files_are_complete_and_repeat_byte_for_byte(steps: int, tmp_path: Path) -> None:
    odd = ["Café $\\no-formula$", "猫, \"odd\" and a very long name 'indeed'"]
    names = [*odd, *(f"class {label}" for label in range(2, steps))]
    metrics = write_inputs(tmp_path, [2] if steps == 1 else [1] * steps, names)
    written = []
    for plots in (tmp_path / "first", tmp_path / "second"):
        summarise_folder(tmp_path, metrics, plots)
        files = [*plots.iterdir(), tmp_path / "summary.json"]
        written.append({path.name: path.read_bytes() for path in files})
    assert written[0] == written[1] and written[0].keys() == {*PLOTS, *TABLES, "summary.json"}
    for name in PLOTS:
        with Image.open(tmp_path / "first" / name) as image:
            assert len(np.unique(np.asarray(image.convert("L")))) > 2  # something is drawn
