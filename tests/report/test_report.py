"""The page as text: the same bytes, whole names, bounded pictures; and what the stage reads."""

import base64
import io
import json
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from html import unescape
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from plotly.offline import get_plotlyjs
from stages.all import list_stages

from der.common.errors import UserError
from der.common.serialization import write_json
from der.data.exemplars import save_memory
from der.evaluation.confusion import write_confusion
from der.evaluation.mistakes import Mistake, Mistakes, save_mistakes
from der.project.presets import load_preset
from der.project.published import published_curves
from der.report.figures import PUBLISHED_COLOURS
from der.report.labels import axis_labels, figure_text
from der.report.page import render, write_report
from der.report.run import Run
from der.report.tables import MOST_PAIRS, class_rows, confused_pairs, parameter_lines, show_bytes
from der.report.thumbnails import LARGEST_EXEMPLAR, MOST_EXEMPLARS, MOST_PIXELS, exemplar_sheets
from der.settings.experiment import Settings
from der.settings.parsing import parse
from der.settings.section import to_values
from der.summary.palette import COLOURS
from stages import report
from tests.locations import ROOT
from tests.report.report_runs import IMAGES, ODD_NAMES, make_run, without_mistakes

REPOSITORY = ROOT


class Reader(HTMLParser):
    """Keeps what a browser would show, and every element's attributes."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.names: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.plots: Any = None
        self._inside = ""
        self.feed(page.replace(get_plotlyjs(), ""))  # megabytes without mark-up

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if dict(attributes).get("class") == "name":
            self.names.append("")
        self._inside = dict(attributes).get("id") or dict(attributes).get("class") or ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "name":
            self.names[-1] += data
        elif self._inside == "plots":
            self.plots = json.loads(data)


RUNS = {
    "joint": make_run([2]),
    "one class at a time": make_run([1] * 50),
    "100 classes": make_run([10] * 10, phases=("representation", "classifier")),
    "names": make_run([4, 2], ODD_NAMES, channels=3),
    "no mistakes": without_mistakes(make_run([2, 2])),
}


@pytest.mark.parametrize("name", RUNS)
def test_same_run_same_bytes(name: str, tmp_path: Path) -> None:
    for file in ("first.html", "second.html"):
        write_report(RUNS[name], tmp_path / file)
    assert (tmp_path / "first.html").read_bytes() == (tmp_path / "second.html").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.html", "second.html"]


@pytest.mark.parametrize("name", RUNS)
def test_every_part_is_there_and_nothing_is_fetched(name: str) -> None:
    reader = Reader(render(RUNS[name]))
    sections = [attributes["id"] for tag, attributes in reader.elements if tag == "section"]
    links = [attributes["href"] for tag, attributes in reader.elements if tag == "a"]
    assert [f"#{section}" for section in sections] == links and len(links) == 9
    assert list(reader.plots) == ["figure-accuracy", "figure-matrix", "figure-confusion", "figure-training"]
    ids = [attributes["id"] for _, attributes in reader.elements if "id" in attributes]
    assert len(ids) == len(set(ids)) and set(reader.plots) <= set(ids)
    for tag, attributes in reader.elements:
        for key in ("src", "href"):
            assert (attributes.get(key) or "#").startswith(("#", "data:")), (tag, attributes)
        assert tag != "img" or attributes["alt"]
    # Steps of the training figure: each has its curves, one step is visible.
    curves = reader.plots["figure-training"]["data"]
    assert {curve["meta"] for curve in curves} == set(range(1, len(RUNS[name].steps) + 1))
    assert {curve["meta"] for curve in curves if curve["visible"]} == {len(RUNS[name].steps)}


def test_names_survive_as_text() -> None:
    run = RUNS["names"]
    page = render(run)
    reader = Reader(page)
    assert set(reader.names) >= set(ODD_NAMES)
    assert set(reader.names) <= {*ODD_NAMES, "–"}
    assert "alert(1)</script>" not in page
    # What plotly gets is escaped once more, for it reads labels as mark-up.
    labels = reader.plots["figure-confusion"]["data"][0]["x"]
    assert labels[0] == '&lt;b&gt;&amp;"x"' and labels[5] == "&amp;lt;i&gt;"
    assert "image" not in {tag for tag, _ in reader.elements}


def test_axis_labels_are_all_different() -> None:
    long = "a name of more than twenty-four letters"
    names = [long, long.replace("more", "less"), long.replace("twenty", "thirty"), "a  b", "a b", "", "<i>"]
    names.append("a longer name")
    assert axis_labels(names) == [
        "a name …etters (0)",
        "a name …etters (1)",
        "a name …etters (2)",
        "a b (3)",
        "a b (4)",
        " (5)",
        "&lt;i&gt;",
        "a longer name",
    ]
    assert figure_text("<b>&amp;") == "&lt;b&gt;&amp;amp;"


def test_confused_pairs_match_loops() -> None:
    run = make_run([5, 5])
    expected = [
        (-run.confusion[i, j], i, j)
        for i in range(10)
        for j in range(10)
        if i != j and run.confusion[i, j] > 0
    ]
    pairs = confused_pairs(run.confusion, run.names)
    assert [(pair.true, pair.predicted, pair.images) for pair in pairs] == [
        (run.names[i], run.names[j], -minus) for minus, i, j in sorted(expected)
    ]
    for pair in pairs:
        assert pair.share == pytest.approx(100 * pair.images / IMAGES)


def test_class_rows_by_hand() -> None:
    run = make_run([2, 1])
    counts = np.array([[8, 0, 0], [1, 5, 2], [0, 3, 3]])
    rows = class_rows(counts, run.names, run.steps)
    assert [(row.step, row.images, row.taken_for) for row in rows] == [
        (1, 8, None),
        (1, 8, "class 2"),
        (2, 6, "class 1"),
    ]
    assert rows[2].accuracy == run.steps[1]["per_class"]["class 2"]
    assert rows[2].nme == run.steps[1]["nme"]["per_class"]["class 2"]


def test_many_pairs_are_cut_and_the_page_says_so() -> None:
    run = replace(RUNS["100 classes"], confusion=np.ones((100, 100), np.int64))
    page = render(run)
    assert f"The {MOST_PAIRS:,} most frequent of 9,900 pairs." in page
    assert page.count("<tr><td") == MOST_PAIRS + 100


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (999_700, "1 MB"),
        (1_912_345, "1.91 MB"),
        (10**16, "1e+04 TB"),
    ],
)
def test_show_bytes(count: int, text: str) -> None:
    assert show_bytes(count) == text


def test_parameter_lines_are_nested() -> None:
    lines = parameter_lines({"train": {"masks": None, "base": {"rates": [0.1, 1], "on": True}}, "a": "é"})
    assert [(line.depth, line.key, line.value) for line in lines] == [
        (0, "train", None),
        (1, "masks", "null"),
        (1, "base", None),
        (2, "rates", "[0.1, 1]"),
        (2, "on", "true"),
        (0, "a", "é"),
    ]


def test_one_of_anything_is_not_many() -> None:
    run = make_run([1], exemplars=1)
    steps = [{**run.steps[0], "memory_images": 1, "test_images": 1}]
    mistakes = Mistakes(run.memory.images, [Mistake(true="a", predicted="b", probability=0.9, number=7)])
    page = render(replace(run, steps=steps, mistakes=mistakes)).replace(get_plotlyjs(), "")
    assert not re.findall(r"\b1 (?:classes|steps|images|test images|wrong predictions)\b", page)
    for words in ("1 class in 1 step", "1 test image", "1 image in memory", "1 wrong prediction of"):
        assert words in page
    many = render(RUNS["names"])
    for words in ("6 classes in 2 steps", "120 test images", "12 images in memory", "4 wrong predictions of"):
        assert words in many


def test_numbers_in_cells_are_explained_where_there_are_any() -> None:
    for name, numbers in (("names", True), ("100 classes", False)):
        page = render(RUNS[name])
        heatmap = Reader(page).plots["figure-confusion"]["data"][0]
        assert ("Numbers: images." in page) == ("text" in heatmap) == numbers


def test_long_parameters_are_folded() -> None:
    order = [f"class {label}" for label in range(100)]
    page = render(replace(RUNS["joint"], parameters={"dataset": {"source": "x"}, "order": order}))
    (cell,) = re.findall(r"<td><details><summary>(.*?)</summary>(.*?)</details></td>", page)
    assert json.loads(unescape(cell[1])) == order and len(unescape(cell[0])) <= 60


def luminance(colour: Sequence[float]) -> float:
    """WCAG 2's relative luminance of red, green and blue in [0, 1]."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """WCAG 2's contrast of two colours, "#RRGGBB" or "rgb(r, g, b)"."""
    low, high = sorted(luminance(numbers(colour)) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def numbers(colour: str) -> list[float]:
    if colour.startswith("#"):
        return [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    return [int(number) / 255 for number in re.findall(r"\d+", colour)]


STYLE = (REPOSITORY / "src/der/report/page.css").read_text(encoding="utf-8")
PAGES = re.findall(r"--page: (#\w+);", STYLE)[:2]  # light, dark
TEXTS = re.findall(r"--text: (#\w+);", STYLE)[:2]


def test_lines_stand_out_from_light_and_dark_pages() -> None:
    for colour in (*COLOURS.values(), *PUBLISHED_COLOURS):
        assert min(contrast(colour, page) for page in PAGES) >= 3, colour


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
        rgb = np.array(numbers(colour))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        seen = np.clip(SIGHTS[sight] @ linear, 0, 1)
        x, y, z = np.cbrt(XYZ @ seen / np.array([0.9505, 1, 1.089]))
        return np.array([116 * y, 500 * (x - y), 200 * (y - z)])

    for one, other in combinations(COLOURS.values(), 2):
        assert np.linalg.norm(lab(one) - lab(other)) > 15, (one, other)  # CIE76; about 2 can be told apart


def test_numbers_can_be_read_in_every_cell() -> None:
    plots = Reader(render(RUNS["names"])).plots
    layout = plots["figure-confusion"]["layout"]
    for text, scheme in zip(TEXTS, ("light", "dark"), strict=True):
        assert min(contrast(text, colour) for _, colour in layout["meta"][scheme]) >= 4.5
    matrix = plots["figure-matrix"]
    text = matrix["data"][0]["textfont"]["color"]
    scale = matrix["layout"]["coloraxis"]["colorscale"]
    assert min(contrast(text, colour) for _, colour in scale) >= 4.5


def decode(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,"))))


@pytest.mark.parametrize("channels", [1, 3])
def test_sheets_show_exemplars_in_order(channels: int) -> None:
    run = make_run([2, 1], exemplars=13, channels=channels)
    sheets = exemplar_sheets(run.memory, run.names)
    assert not sheets.cut and sheets.side == sheets.original == 8
    for label, sheet in enumerate(sheets.sheets):
        pixels = np.asarray(decode(sheet.picture.uri))
        assert pixels.shape == (2 * 9, 10 * 9, channels + 1)
        for place, image in enumerate(run.memory.of_class(label)):
            top, left = 9 * (place // 10), 9 * (place % 10)
            np.testing.assert_array_equal(pixels[top : top + 8, left : left + 8, :-1], image)
        assert (pixels[:, 8::9, -1] == 0).all() and (pixels[9:, 27:, -1] == 0).all()


def test_pictures_are_bounded_and_the_page_says_so() -> None:
    run = make_run([4], exemplars=MOST_EXEMPLARS + 5, side=100, channels=3)
    sheets = exemplar_sheets(run.memory, run.names)
    assert sheets.side == LARGEST_EXEMPLAR
    assert [(sheet.shown, sheet.total) for sheet in sheets.sheets] == [(MOST_EXEMPLARS, 25)] * 4
    page = render(run)
    assert "Shown of each class: at most the first 20." in page
    assert "Scaled down from 100 to 64 pixels." in page
    many = exemplar_sheets(make_run([150], exemplars=20, side=40).memory, [str(n) for n in range(150)])
    assert many.side**2 * 150 * 20 <= MOST_PIXELS < (many.side + 1) ** 2 * 150 * 20


def test_a_class_without_exemplars() -> None:
    run = make_run([3])
    memory = replace(run.memory, labels=np.where(run.memory.labels == 1, 2, run.memory.labels))
    assert [sheet.shown for sheet in exemplar_sheets(memory, run.names).sheets] == [2, 0, 4]


def settings_of(preset: str, **protocol: Any) -> Settings:
    """params.yaml with the values of a preset."""
    values = yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
    wanted = load_preset(preset)
    values["dataset"]["source"] = wanted["dataset"]["source"]
    steps = {key: wanted["protocol"][key] for key in ("first_classes", "later_classes")}
    values["protocol"] |= steps | protocol
    return parse(Settings, values)


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)


@pytest.mark.usefixtures("repository")
def test_published_curves_are_those_of_the_same_protocol() -> None:
    published = json.loads(Path("results/published.json").read_text(encoding="utf-8"))
    seen = set()
    for preset in ("digits", "joint", "notebook", "pycil_b0_10", "paper_b0_50", "paper_b50_10"):
        curves = published_curves(settings_of(preset))
        expected = {
            tuple(results["top1"])
            for other, kinds in published["presets"].items()
            for results in kinds.values()
            if "top1" in results and protocol_of(other) == protocol_of(preset)
        }
        assert {tuple(curve.top1) for curve in curves} == expected
        assert len(curves) == len(expected)
        for curve in curves:
            assert curve.source in published["sources"].values()
            assert len(curve.classes) == len(curve.top1) and curve.classes[-1] == 100
            seen.add(curve.name)
    assert {
        "notebook, without pruning (notebook)",
        "paper_b0_10, without pruning (authors)",
        "paper_b0_10 and paper_b0_10_masks, with pruning (authors)",
    } <= seen
    assert not published_curves(settings_of("notebook", steps=[["a", "b"]]))


@cache
def protocol_of(preset: str) -> tuple[Any, ...]:
    values = load_preset(preset)
    protocol = values["protocol"]
    return values["dataset"]["source"], protocol["first_classes"], protocol["later_classes"]


@pytest.mark.usefixtures("repository")
def test_published_curves_are_dashed_and_named() -> None:
    run = replace(RUNS["100 classes"], published=published_curves(settings_of("paper_b0_10")))
    curves = Reader(render(run)).plots["figure-accuracy"]["data"]
    dashed = [curve for curve in curves if curve["line"].get("dash") == "dash"]
    assert len(dashed) == 2 and all(curve["name"].startswith("published: ") for curve in dashed)
    assert next(curve["name"] for curve in curves if curve not in dashed) == "top-1"
    assert dashed[0]["x"] == list(range(10, 101, 10))


def trained_steps(run: Run) -> list[list[str]]:
    """The names of the classes that each step brought."""
    ends = [step["classes"] for step in run.steps]
    return [run.names[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def set_parameter(root: Path, section: str, values: dict[str, Any]) -> None:
    """Change keys of a section of params.yaml."""
    path = root / "params.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content[section] |= values
    path.write_text(yaml.safe_dump(content), encoding="utf-8")


def write_run(root: Path, run: Run) -> None:
    """What the stages before would have left."""
    last = len(run.steps)
    for name in ("params.yaml", "results/published.json"):
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(REPOSITORY / name, root / name)
    shutil.copytree(REPOSITORY / "presets", root / "presets")
    chain = {"steps": {str(number): {} for number in range(1, last + 2)}}
    (root / "chain.yaml").write_text(yaml.safe_dump(chain))
    steps = trained_steps(run)
    sizes = {"first_classes": len(steps[0]), "later_classes": len(steps[1])}
    set_parameter(root, "protocol", {"class_order": run.names, **sizes})
    settings = report.load_settings(root / "params.yaml")
    card = {
        "network": to_values(settings.network),
        "recipes": [to_values(settings.train.recipe(number)) for number in range(1, last + 1)],
        "steps": steps,
    }
    write_json(root / f"data/checkpoints/{last}/network.json", card)
    for step in run.steps:
        write_json(root / f"metrics/steps/{step['step']}.json", step)
        (root / "metrics/training").mkdir(exist_ok=True)
        rows = run.log[run.log["step"] == step["step"]].drop(columns="step")
        rows.to_csv(root / f"metrics/training/{step['step']}.csv", index=False)
    write_json(root / f"metrics/steps/{last + 1}.json", {"unused": True})
    write_json(root / "metrics/summary.json", run.summary)
    write_confusion(root / f"metrics/confusion/{last}.csv", run.confusion, run.names)
    save_mistakes(root / f"metrics/mistakes/{last}", run.mistakes)
    save_memory(root / f"data/memory/{last}", run.memory)


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository in which all stages but the last have run."""
    write_run(tmp_path, RUNS["names"])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_stage_reads_the_run_that_was_written(finished: Path) -> None:
    read = report.read_run(report.load_settings())
    run = RUNS["names"]
    assert (read.summary, read.steps, read.names) == (run.summary, run.steps, run.names)
    np.testing.assert_array_equal(read.memory.images, run.memory.images)
    assert report.run().startswith("report: metrics/report.html, ")
    page = (finished / "metrics/report.html").read_text(encoding="utf-8")
    places = yaml.safe_load((finished / "params.yaml").read_text(encoding="utf-8"))["dataset"]
    assert re.search(r"<th[^>]*>group_labels</th><td>10</td>", page)
    for place in ("path", "downloads"):
        assert not re.search(rf"<th[^>]*>{place}</th>", page) and f">{places[place]}<" not in page


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        ("metrics/steps/1.json", None, "no metrics; run `dvc repro`"),
        ("metrics/steps/2.json", "{}", "no metrics of a step; run the step's evaluation again"),
        ("metrics/summary.json", None, "cannot be read as JSON"),
        ("metrics/summary.json", "{}", "not of these steps; run `dvc repro`"),
        ("metrics/confusion/2.csv", "true,a\na,1\n", "of 1 classes, but step 2 has 6; run `dvc repro`"),
        ("metrics/confusion/2.csv", None, "cannot be read as a confusion matrix"),
        ("metrics/training/1.csv", "epoch\n", "cannot be read as a training log"),
        ("metrics/mistakes/2/mistakes.json", None, "cannot be read as JSON"),
        ("data/memory/2/images.npy", "x", r"cannot be read as a \.npy array"),
        ("data/checkpoints/2/network.json", None, "cannot be read as JSON"),
        ("data/checkpoints/2/network.json", "[]", "not of a trained network; run `dvc repro` first"),
        ("results/published.json", None, "cannot be read as JSON"),
    ],
)
def test_missing_or_damaged_input_leaves_no_page(
    path: str, content: str | None, message: str, finished: Path
) -> None:
    (finished / path).unlink()
    if content is not None:
        (finished / path).write_text(content)
    with pytest.raises(UserError, match=rf"^{re.escape(path)}: {message}"):
        report.run()
    assert not list((finished / "metrics").glob("report*"))


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("network", {"depth": 20}),
        ("train", {"seed": 7}),
        ("train", {"precision": "bfloat16"}),
        ("protocol", {"steps": [["two words"], ["no class of this run"]]}),
        ("protocol", {"class_order": "alphabetical"}),
    ],
)
def test_no_page_of_parameters_that_the_run_was_not_trained_with(
    section: str, values: dict[str, Any], finished: Path
) -> None:
    set_parameter(finished, section, values)
    sentence = "trained with other parameters than params.yaml has; run `dvc repro` first"
    with pytest.raises(UserError, match=rf"^data/checkpoints/2/network\.json: {sentence}$"):
        report.run()
    assert not list((finished / "metrics").glob("report*"))


@pytest.mark.parametrize("package", ["plotly", "ruamel"])
def test_all_stages_leave_the_page_out_where_its_packages_are_missing(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.setitem(sys.modules, name, None)
    for name in [
        name for name in sys.modules if name.startswith(("stages.report", "stages.presets", "der.report"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("stages.report")
    said = list_stages(1)["report"]()
    assert re.fullmatch(
        rf"report: left out, {package}[.a-z]* is not installed; run `python -m .*` where it is", said
    )


def test_all_stages_make_the_page(finished: Path) -> None:
    assert list_stages(1)["report"]().startswith("report: metrics/report.html, ")
