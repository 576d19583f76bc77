"""DVC's own pages of plots, in Chromium without a network: the lines are drawn, and git sees nothing new."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Browser, Page

from der.summary.series import accuracy_matrix, summarise, write_tables
from tests.locations import ROOT
from tests.report.browser import PATIENCE
from tests.runs.lab import Pipeline
from tests.summary.step_metrics import MATRIX, make_steps

MEASURES = ["top1", "top5", "old", "new", "nme_top1"]
CSV = Path("metrics/plots/accuracy.csv")
FIELDS = "line => [line.getAttribute('stroke'), line.getAttribute('stroke-dasharray'), line.points.length]"


def write_accuracy(repository: Pipeline, matrix: list[list[float]]) -> None:
    steps = make_steps(matrix, [4, 2, 2])
    write_tables((repository.root / CSV).parent, summarise(steps), accuracy_matrix(steps), [])


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """A repository with the project's plots, and nothing else of its pipeline, committed."""
    repository = Pipeline(tmp_path_factory.mktemp("plots") / "repository")
    (repository.root / CSV).parent.mkdir(parents=True)
    kept = subprocess.run(["git", "ls-files", ".dvc", ".gitignore"], cwd=ROOT, capture_output=True, text=True)
    for name in (*kept.stdout.split(), ".dvc/plots.html"):
        (repository.root / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, repository.root / name)
    plots = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["plots"]
    (repository.root / "dvc.yaml").write_text(yaml.safe_dump({"plots": plots}), encoding="utf-8")
    write_accuracy(repository, MATRIX)
    for plot in plots:
        if isinstance(plot, str):
            shutil.copyfile(ROOT / "docs/figures/digits.png", repository.root / plot)
    repository.succeed("git", "init", "--quiet")
    repository.succeed("git", "add", "--all", "--force", "metrics")
    repository.commit("Plots")
    write_accuracy(repository, [*MATRIX[:2], [76.0, 61.0, 94.0]])
    return repository


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page without a network; what it says on the console, or asks for beside files, fails the test."""
    faults: list[str] = []
    with browser.new_context(offline=True) as context:
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda one: faults.extend([one.url] * (not one.url.startswith("file:"))))
        yield page
    assert faults == []


def curves(page: Page, repository: Pipeline) -> list[list[object]]:
    """Colour, dashes and number of points of every line on DVC's page."""
    page.goto((repository.root / "dvc_plots/index.html").as_uri())
    lines = page.locator("polyline.curve")
    return [lines.nth(index).evaluate(FIELDS) for index in range(lines.count())]


def assert_pictures(page: Page, count: int) -> None:
    sizes = page.locator("img").evaluate_all("all => all.map(one => one.complete && one.naturalWidth)")
    assert len(sizes) == count and all(sizes)
    for width in (800, 1600):
        page.set_viewport_size({"width": width, "height": 900})
        inside = "all => all.every(one => one.scrollWidth <= one.clientWidth)"
        assert page.locator("div:has(> div > img)").evaluate_all(inside)


def test_plots_show(repository: Pipeline, page: Page) -> None:
    before = repository.succeed("git", "status", "--porcelain")
    repository.succeed("dvc", "plots", "show")
    drawn = curves(page, repository)
    assert [points for _, _, points in drawn] == [3, 3, 2, 3, 3]  # no old classes at step 1
    assert len({colour for colour, _, _ in drawn}) == len(MEASURES)
    assert page.locator(".legend span").all_inner_texts() == MEASURES
    assert page.get_by_role("img", name="Accuracy over steps").count() == 1
    assert page.locator("circle title").first.text_content() == "top1, workspace: step 1, 89"
    assert_pictures(page, 4)
    assert repository.succeed("git", "status", "--porcelain") == before


def test_plots_diff(repository: Pipeline, page: Page) -> None:
    before = repository.succeed("git", "status", "--porcelain")
    repository.succeed("dvc", "plots", "diff")
    drawn = curves(page, repository)
    assert len(drawn) == 2 * len(MEASURES)
    assert len({colour for colour, _, _ in drawn}) == len(MEASURES)
    assert sorted(dashes for _, dashes, _ in drawn) == [""] * 5 + ["7 4"] * 5
    assert page.locator(".legend span").all_inner_texts() == [*MEASURES, "workspace", "HEAD"]
    assert_pictures(page, 8)
    assert repository.succeed("git", "status", "--porcelain") == before


def test_no_single_image_looks_like_a_collapse(page: Page, tmp_path: Path) -> None:
    from dvc_render import render_html
    from dvc_render.vega import VegaRenderer

    rows = [{"step": step, "top1": top1, "rev": "workspace"} for step, top1 in ((1, 100.0), (2, 99.0))]
    plot = VegaRenderer(rows, "top1.csv", x="step", y="top1", y_label="percent", title="Top-1")
    render_html([plot], tmp_path / "index.html", html_template=ROOT / ".dvc/plots.html")
    page.goto((tmp_path / "index.html").as_uri())
    first, last = (dot.bounding_box() for dot in page.locator("circle").all())
    box = page.locator("svg").first.bounding_box()
    assert first is not None and last is not None and box is not None
    assert 0 < last["y"] - first["y"] < box["height"] / 20


def test_the_page_names_no_other_place() -> None:
    text = (ROOT / ".dvc/plots.html").read_text(encoding="utf-8")
    assert "{plot_divs}" in text and "{scripts}" not in text
    assert text.count("http") == text.count("http://www.w3.org/2000/svg") == 1
    assert len(text) < 10_000
