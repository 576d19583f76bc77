"""The page in Chromium, without a network: it draws, searches, sorts, fits a phone and asks for nothing."""

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from der.report.page import write_report
from der.summary.charts.accuracy import Curve
from tests.report.report_runs import ODD_NAMES, make_run, without_mistakes

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PHONE_WIDTH = 390
FIGURES = {  # with what is drawn in them
    "figure-accuracy": ".scatterlayer .js-line",
    "figure-accuracy_matrix": ".heatmaplayer image",
    "figure-confusion": ".heatmaplayer image",
    "figure-training": ".scatterlayer .js-line",
}
PUBLISHED = Curve("<i>preset</i>, without pruning", "A paper", [10, 20], [90.0, 80.0])
LONG_NAMES = [
    f"a name of which nobody could say it were short, {odd} {n}"
    for n in range(30)
    for odd in ("true", "false")
]
RUNS = {
    "joint": without_mistakes(make_run([2])),
    "names": replace(make_run([4, 2, 2], ODD_NAMES), published=[PUBLISHED]),
    "100 classes": make_run([10] * 10, exemplars=20, phases=("representation", "classifier")),
    "long names": make_run([20, 20, 20], LONG_NAMES),
    "50 steps": make_run([2] * 50),
}
PATIENCE = 300_000  # milliseconds, for cores that are shared with much else
expect.set_options(timeout=PATIENCE)
VISIBLE = "() => document.getElementById('figure-training').data.map(curve => curve.visible)"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("no Chromium on the PATH; install one")
        pytest.skip("no Chromium on the PATH")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the page of every run."""
    directory = tmp_path_factory.mktemp("pages")
    for name, run in RUNS.items():
        write_report(run, directory / f"{name}.html")
    return directory


class Watched:
    """An open page, and everything it should not do."""

    def __init__(self, page: Page, file: Path) -> None:
        self.page = page
        page.set_default_timeout(PATIENCE)
        self.requests: list[str] = []
        self.faults: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("requestfailed", lambda request: self.faults.append(f"failed: {request.url}"))
        page.on("console", lambda message: self.faults.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.goto(file.as_uri())
        for figure in FIGURES:
            expect(page.locator(f"#{figure} svg.main-svg").first).to_be_visible()

    def assert_quiet(self) -> None:
        assert self.faults == []
        outside = [url for url in self.requests if not url.startswith(("data:", "blob:"))]
        assert len(outside) == 1 and outside[0].startswith("file:")


@pytest.fixture
def opened(browser: Browser, pages: Path, request: pytest.FixtureRequest) -> Iterator[Watched]:
    """The page of the run that the test is parametrised with, of 100 classes by default."""
    name = getattr(request, "param", "100 classes")
    with browser.new_context(offline=True) as context, context.new_page() as page:
        watched = Watched(page, pages / f"{name}.html")
        yield watched
        watched.assert_quiet()


def column(page: Page, table: str, number: int) -> list[str]:
    cells = page.locator(f"#{table} tbody tr:not([hidden]) td:nth-child({number})")
    return [" ".join(text.split()) for text in cells.all_text_contents()]


TICK_AND_TEXT = """() => [
    getComputedStyle(document.querySelector('#figure-accuracy .xtick text')).fill,
    getComputedStyle(document.body).color,
]"""


@pytest.mark.parametrize("opened", RUNS, indirect=True)
def test_every_figure_is_drawn_and_the_page_fits_a_phone(opened: Watched) -> None:
    page = opened.page
    page.set_viewport_size({"width": PHONE_WIDTH, "height": 844})
    for figure, mark in FIGURES.items():
        assert page.locator(f"#{figure} {mark}").count() > 0
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE_WIDTH
    page.emulate_media(color_scheme="light")
    light = page.evaluate(TICK_AND_TEXT)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"tick => ({TICK_AND_TEXT})()[0] !== tick", arg=light[0])
    dark = page.evaluate(TICK_AND_TEXT)
    assert light[0] == light[1] != dark[0] == dark[1]


@pytest.mark.parametrize("opened", ["names"], indirect=True)
def test_names_are_shown_as_they_are(opened: Watched) -> None:
    page = opened.page
    names = [" ".join(name.split()) for name in (*ODD_NAMES, "class 6", "class 7")]
    assert column(page, "classes", 1) == names
    shown = page.locator("#figure-confusion .ytick text").all_text_contents()
    assert {text.strip() for text in shown} >= {name for name in names if len(name) < 20}
    legend = page.locator("#figure-accuracy .legendtext").all_text_contents()
    assert "published: <i>preset</i>, without" in legend[-1].replace("\u00a0", " ")
    page.mouse.move(0, 0)
    page.locator("#figure-confusion").scroll_into_view_if_needed()
    page.locator("#figure-confusion .nsewdrag").hover()
    hover = page.locator("#figure-confusion .hovertext").text_content()
    assert hover is not None and re.search(
        r"true class: .*predicted class: .*\d images?, \d+(\.\d+)? %", hover
    )


@pytest.mark.parametrize("opened", ["long names"], indirect=True)
def test_hovering_shows_whole_names(opened: Watched) -> None:
    page = opened.page
    page.locator("#figure-confusion").scroll_into_view_if_needed()
    page.locator("#figure-confusion .nsewdrag").hover()
    lines = page.locator("#figure-confusion .hovertext tspan").all_text_contents()
    hover = " ".join(" ".join(lines).split())
    true, predicted = re.findall(r"(?:true|predicted) class: (a name of which .*? (?:true|false) \d)", hover)
    assert {true, predicted} <= set(LONG_NAMES)


@pytest.mark.parametrize("opened", ["long names", "100 classes", "50 steps"], indirect=True)
def test_a_phone_shows_colours_and_buttons_beside_short_labels(opened: Watched) -> None:
    page = opened.page
    page.set_viewport_size({"width": PHONE_WIDTH, "height": 844})
    for figure in ("figure-accuracy_matrix", "figure-confusion"):
        for part in (".modebar", ".cbfills"):
            box = page.locator(f"#{figure} {part}").first.bounding_box()
            assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= PHONE_WIDTH, part
    cells = page.locator("#figure-confusion .nsewdrag").bounding_box()
    assert cells is not None and cells["x"] < 0.45 * PHONE_WIDTH


def test_no_number_of_the_headline_is_torn_apart(browser: Browser, tmp_path: Path) -> None:
    run = make_run([2])
    steps = [{**run.steps[0], "parameters": 123_175_200}]
    write_report(replace(run, steps=steps), tmp_path / "page.html")
    with browser.new_context(offline=True) as context, context.new_page() as page:
        watched = Watched(page, tmp_path / "page.html")
        for width in (PHONE_WIDTH, 560, 800, 1280):
            page.set_viewport_size({"width": width, "height": 844})
            for tile in page.locator(".tiles div").all():
                assert tile.evaluate("tile => tile.scrollWidth - tile.clientWidth") == 0
                rows = "tile => tile.querySelector('dd').firstChild.getClientRects().length"
                assert tile.evaluate(rows) == 1
        watched.assert_quiet()


def test_search_leaves_the_rows_of_a_class(opened: Watched) -> None:
    page = opened.page
    box = page.get_by_label("Find a class")
    everything = len(column(page, "pairs", 1))
    box.fill("CLASS 77")
    assert column(page, "classes", 1).count("class 77") == 1
    pairs = list(zip(column(page, "pairs", 1), column(page, "pairs", 2), strict=True))
    assert 0 < len(pairs) < everything and all("class 77" in pair for pair in pairs)
    expect(page.get_by_role("status")).to_contain_text(f"{len(pairs)} pairs")
    box.fill("no such class")
    assert column(page, "pairs", 1) == column(page, "classes", 1) == []
    box.fill("")
    assert len(column(page, "pairs", 1)) == everything and len(column(page, "classes", 1)) == 100


def test_print_shows_all_rows_whatever_was_searched(opened: Watched) -> None:
    page = opened.page
    rows = page.locator("#pairs tbody tr:visible")
    page.emulate_media(media="print")
    in_print = rows.all_text_contents()
    assert len(in_print) == 100
    page.emulate_media(media="screen")
    page.get_by_label("Find a class").fill("class 77")
    found = rows.all_text_contents()
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert rows.all_text_contents() == in_print
    assert page.locator("#classes tbody tr:visible").count() == 100
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen")
    assert rows.all_text_contents() == found != in_print
    expect(page.get_by_role("status")).to_contain_text(f"{len(found)} pairs, ")


def test_sorting_by_mouse_and_keyboard(opened: Watched) -> None:
    page = opened.page
    heading = page.locator("#classes th", has_text="top-1")
    before = [float(text) for text in column(page, "classes", 4)]
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert [float(text) for text in column(page, "classes", 4)] == sorted(before, reverse=True)
    heading.get_by_role("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert [float(text) for text in column(page, "classes", 4)] == sorted(before)

    names = page.locator("#classes th").first
    names.get_by_role("button").press("Space")
    assert names.get_attribute("aria-sort") == "ascending" and heading.get_attribute("aria-sort") is None
    assert column(page, "classes", 1) == [f"class {label}" for label in range(100)]  # by value, not as text


def test_step_selector_changes_the_training_figure(opened: Watched) -> None:
    page = opened.page
    curves = "#figure-training .scatterlayer .js-line"
    before = page.locator(curves).first.get_attribute("d")
    expect(page.locator(curves)).to_have_count(2 + 9 * 4)  # loss and accuracy; step 1 has one phase
    steps = page.evaluate("document.getElementById('figure-training').data.map(curve => curve.meta)")
    page.get_by_label("Step", exact=True).select_option("10")
    assert page.evaluate(VISIBLE) == [step == 10 for step in steps]
    page.get_by_label("Step", exact=True).select_option("1")
    expect(page.locator(curves)).to_have_count(2)
    assert page.locator(curves).first.get_attribute("d") != before
    page.get_by_label("Step", exact=True).select_option("all")
    expect(page.locator(curves)).to_have_count(2 + 9 * 4)


def test_print_opens_everything_on_white(opened: Watched) -> None:
    page = opened.page
    page.emulate_media(color_scheme="dark")
    closed = page.locator("details:not([open])").count()
    assert closed == 8
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    assert not page.get_by_label("Find a class").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    box = page.locator("#figure-confusion svg.main-svg").first.bounding_box()
    assert box is not None and box["width"] == 680 and box["height"] <= 760  # an A4 page holds it
    tick = "getComputedStyle(document.querySelector('#figure-accuracy .xtick text')).fill"
    assert page.evaluate(tick) == "rgb(0, 0, 0)"
    # Chromium leaves out the buttons of headings that it repeats on later pages.
    assert (
        page.evaluate("getComputedStyle(document.querySelector('#pairs thead button')).display") == "contents"
    )
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details:not([open])").count() == closed
    page.emulate_media(media="screen", color_scheme="dark")
    assert page.evaluate(tick) == page.evaluate("getComputedStyle(document.body).color") != "rgb(0, 0, 0)"
