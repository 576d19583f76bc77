"""The page in Chromium, without a network: what a reader sees, by pixels where it is a matter of pixels.

One browser, and one page for every run: each test leaves its page as it found it.
"""

import io
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from der.report.write import write_report
from der.summary.charts.accuracy import Curve
from der.summary.charts.blending import contrast
from tests.report.report_runs import ODD_NAMES, make_run, with_times, without_mistakes

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
PAPER = {"width": 680, "height": 1009}  # pixels of an A4 page within margins of 15 mm
PUBLISHED = Curve("<i>preset</i>, without pruning", "A paper", [4, 6, 8], [90.0, 85.0, 80.0])
LONG_NAMES = [
    f"a name of which nobody could say it were short, {odd} {n}"
    for n in range(13)
    for odd in ("true", "false")
]
RUNS = {
    "joint": without_mistakes(make_run([2])),
    "names": with_times(replace(make_run([4, 2, 2], ODD_NAMES, right=0.8), published=[PUBLISHED]), 2),
    "100 classes": make_run([10] * 10, phases=("representation", "classifier")),
    "long names": make_run([13, 13], LONG_NAMES),
    "50 steps": make_run([1] * 50),
}
PATIENCE = 300_000  # milliseconds, for cores that are shared with much else
expect.set_options(timeout=PATIENCE)


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

    def assert_quiet(self) -> None:
        assert self.faults == []
        outside = [url for url in self.requests if not url.startswith(("data:", "blob:"))]
        assert len(outside) == 1 and outside[0].startswith("file:")


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


class Pages(dict[str, Watched]):
    """The page of every run, made and opened when it is first asked for."""

    def __init__(self, context: BrowserContext, directory: Path) -> None:
        super().__init__()
        self.context, self.directory = context, directory

    def __missing__(self, name: str) -> Watched:
        file = self.directory / f"{name}.html"
        write_report(RUNS[name], file)
        self[name] = Watched(self.context.new_page(), file)
        return self[name]


@pytest.fixture(scope="module")
def pages(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    with browser.new_context(offline=True, viewport=DESK) as context:  # type: ignore[arg-type]
        yield Pages(context, tmp_path_factory.mktemp("pages"))


@pytest.fixture
def opened(pages: Pages, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page of the run that the test is parametrised with, of odd names by default."""
    watched = pages[getattr(request, "param", "names")]
    page = watched.page
    page.bring_to_front()
    page.set_viewport_size(DESK)  # type: ignore[arg-type]
    page.emulate_media(media="screen", color_scheme="light")
    yield page
    page.mouse.move(0, 0)
    watched.assert_quiet()


def pixels(page: Page, selector: str) -> np.ndarray:
    """What is painted of an element, (height, width, 3)."""
    return np.asarray(Image.open(io.BytesIO(page.locator(selector).first.screenshot())).convert("RGB"))


def colour_at(page: Page, row: float, column: float, count: int) -> str:
    """The colour of a confusion's cell, near its corner, where no number is."""
    painted = pixels(page, "#figure-confusion .cells")
    y, x = (
        (place + 0.2) / count * length for place, length in zip((row, column), painted.shape, strict=False)
    )
    return "#{:02X}{:02X}{:02X}".format(*painted[int(y), int(x)])


def hover_cell(page: Page, row: int, column: int, count: int) -> None:
    cells = page.locator("#figure-confusion .cells")
    box = cells.bounding_box()
    assert box is not None
    place = {"x": (column + 0.5) / count * box["width"], "y": (row + 0.5) / count * box["height"]}
    cells.hover(position=place, force=True)  # type: ignore[arg-type]
    expect(page.locator("#tip")).to_be_visible()


def column(page: Page, table: str, number: int) -> list[str]:
    cells = page.locator(f"#{table} tbody tr:not([hidden]) td:nth-child({number})")
    return [" ".join(text.split()) for text in cells.all_text_contents()]


@pytest.mark.parametrize("opened", RUNS, indirect=True)
def test_the_page_fits_a_phone_and_no_table_breaks_a_name(opened: Page) -> None:
    for size in (PHONE, DESK):
        opened.set_viewport_size(size)  # type: ignore[arg-type]
        assert opened.evaluate("document.documentElement.scrollWidth") == size["width"]
        for figure in opened.locator("figure").all():
            box = figure.bounding_box()
            assert box is not None and box["height"] > 60 and box["x"] + box["width"] <= size["width"]
    broken = """() => [...document.querySelectorAll('td.name')].filter((cell) => {
        const longest = Math.max(...cell.textContent.trim().split(/\\s+/).map((word) => word.length));
        return cell.scrollWidth > cell.clientWidth + 1
            || getComputedStyle(cell).overflowWrap !== 'normal' && longest > 0;
    }).length"""
    assert opened.evaluate(broken) == 0


@pytest.mark.parametrize("opened", ["names", "100 classes"], indirect=True)
def test_axe_finds_no_violation(opened: Page) -> None:
    for scheme in ("light", "dark"):
        opened.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        found = Axe().run(opened)
        assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_error_differs_from_an_empty_cell(opened: Page, scheme: str) -> None:
    opened.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    counts = RUNS["names"].confusions[-1]
    wrong = counts - np.diag(np.diag(counts))
    fewest = np.argwhere(wrong == wrong[wrong > 0].min())[0]
    empty = np.argwhere(counts == 0)[0]
    colours = [colour_at(opened, *cell, len(counts)) for cell in (fewest, empty)]
    assert contrast(*colours) >= 3
    page = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    assert [int(colours[1][place : place + 2], 16) for place in (1, 3, 5)] == [
        int(part) for part in page.removeprefix("rgb(").removesuffix(")").split(",")
    ]


def test_the_slider_moves_the_figure(opened: Page) -> None:
    before = pixels(opened, "#figure-confusion .cells")
    numbers = opened.locator("#figure-confusion .numbers b")
    opened.locator("#confusion-step").focus()
    opened.keyboard.press("Home")
    assert opened.locator(".slider output").text_content() == "1"
    after = pixels(opened, "#figure-confusion .cells")
    assert not np.array_equal(before, after)
    assert numbers.count() == np.count_nonzero(RUNS["names"].confusions[0])
    hover_cell(opened, 7, 7, 8)
    assert opened.locator("#tip").text_content() == "not taught yet"
    opened.mouse.move(0, 0)
    opened.locator("#confusion-step").focus()
    opened.keyboard.press("End")
    assert numbers.count() == np.count_nonzero(RUNS["names"].confusions[-1])
    assert np.array_equal(pixels(opened, "#figure-confusion .cells"), before)


def test_pointer_and_keyboard_show_the_images_that_were_mistaken(opened: Page) -> None:
    run = RUNS["names"]
    entry = run.mistakes[-1].entries[0]
    row, column = run.names.index(entry.true), run.names.index(entry.predicted)
    count = int(run.confusions[-1][row, column])
    hover_cell(opened, row, column, len(run.names))
    tip = opened.locator("#tip")
    said = f"{entry.true} taken for {entry.predicted}"
    assert " ".join(said.split()) in " ".join((tip.text_content() or "").split())
    assert f"{count} of 20 images" in (tip.text_content() or "")
    assert tip.locator(".thumb").count() == min(count, 6)
    # The picture is the one that was mistaken: its pixels, in blocks of the screen's.
    painted = pixels(opened, "#tip .thumb").mean(axis=2)
    scale = painted.shape[0] // 8
    shown = painted[scale // 2 :: scale, scale // 2 :: scale][:8, :8]
    np.testing.assert_allclose(shown, run.mistakes[-1].images[0][..., 0], atol=2)
    opened.mouse.move(0, 0)
    expect(tip).to_be_hidden()
    opened.locator("#figure-confusion").focus()
    for _ in range(len(run.names)):
        opened.keyboard.press("ArrowUp")
        opened.keyboard.press("ArrowLeft")
    for key, times in (("ArrowDown", row), ("ArrowRight", column)):
        for _ in range(times):
            opened.keyboard.press(key)
    assert tip.locator(".thumb").count() == min(count, 6)
    opened.keyboard.press("Escape")
    expect(tip).to_be_hidden()


def test_lines_and_bars_say_their_numbers(opened: Page) -> None:
    run = RUNS["names"]
    tip = opened.locator("#tip")
    figure = opened.locator("#figure-accuracy")
    figure.scroll_into_view_if_needed()
    box = figure.locator(".drawing.wide").bounding_box()
    assert box is not None
    opened.mouse.move(box["x"] + box["width"] - 30, box["y"] + box["height"] / 2)
    expect(tip).to_contain_text("step 3, 8 classes")
    expect(tip).to_contain_text(f"{round(run.summary['last_top1'], 2):g} %")
    expect(figure.locator(".wide .rule")).to_be_visible()
    figure.focus()
    opened.keyboard.press("Home")
    expect(tip).to_contain_text("step 1, 4 classes")
    opened.locator("#figure-timeline").focus()
    opened.keyboard.press("Home")
    expect(tip).to_contain_text("download")
    expect(tip).to_contain_text("taken from the cache")
    opened.keyboard.press("Escape")


def test_names_are_shown_as_they_are(opened: Page) -> None:
    names = [" ".join(name.split()) for name in RUNS["names"].names]
    assert column(opened, "table-of-classes", 1) == names
    shown = opened.locator("#figure-confusion .rows span").all_text_contents()
    assert {text.strip() for text in shown} >= {name for name in names if len(name) <= 16}
    assert (
        "published: <i>preset</i>, without pruning" in opened.locator("#figure-accuracy .legend").inner_text()
    )


def test_the_tip_has_whole_names(browser: Browser, tmp_path: Path) -> None:
    row, column = np.argwhere(RUNS["long names"].confusions[-1] == 0)[0]
    with browser.new_context(offline=True, viewport=DESK) as context:  # type: ignore[arg-type]
        page = Pages(context, tmp_path)["long names"].page
        hover_cell(page, row, column, len(LONG_NAMES))
        expect(page.locator("#tip")).to_contain_text(f"{LONG_NAMES[row]} taken for {LONG_NAMES[column]}")
        box = page.locator("#tip").bounding_box()
    assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= DESK["width"]


def differing(one: np.ndarray, other: np.ndarray) -> float:
    """The share of pixels that are not the same, of the part that both have: names take room of the cells."""
    height, width = np.minimum(one.shape, other.shape)[:2]
    return float((one[:height, :width] != other[:height, :width]).any(axis=2).mean())


@pytest.mark.parametrize("opened", ["100 classes"], indirect=True)
def test_zoom_makes_names_readable(opened: Page) -> None:
    name = opened.locator("#figure-confusion .rows span").nth(1)
    expect(name).to_be_hidden()
    whole = pixels(opened, "#figure-confusion .cells")
    for _ in range(3):
        opened.get_by_role("button", name="Zoom in").click()
    shown = [one for one in opened.locator("#figure-confusion .rows span").all() if one.is_visible()]
    heights = [box["height"] for box in (one.bounding_box() for one in shown) if box]
    assert len(heights) == 100 and min(heights) >= 11
    assert differing(pixels(opened, "#figure-confusion .cells"), whole) > 0.05
    opened.get_by_role("button", name="All", exact=True).click()
    expect(name).to_be_hidden()
    assert differing(pixels(opened, "#figure-confusion .cells"), whole) < 0.02  # edges, at another scroll


@pytest.mark.parametrize("opened", ["100 classes"], indirect=True)
def test_search_reaches_tables_class_and_figure(opened: Page) -> None:
    box = opened.get_by_label("Find a class")
    everything = len(column(opened, "pairs", 1))
    box.fill("CLASS 77")
    assert column(opened, "table-of-classes", 1) == ["class 77"]
    pairs = list(zip(column(opened, "pairs", 1), column(opened, "pairs", 2), strict=True))
    assert 0 < len(pairs) < everything and all("class 77" in pair for pair in pairs)
    expect(opened.locator("#found")).to_contain_text(f"{len(pairs)} pairs")
    expect(opened.locator("#class-77")).to_be_visible()
    found = opened.locator("#figure-confusion .rows .found")
    assert found.all_text_contents() == ["class 77"]
    expect(found).to_be_in_viewport()
    box.fill("no such class")
    assert column(opened, "pairs", 1) == column(opened, "table-of-classes", 1) == []
    box.fill("")
    assert len(column(opened, "pairs", 1)) == everything
    assert len(column(opened, "table-of-classes", 1)) == 100 and found.count() == 0


@pytest.mark.parametrize("opened", ["100 classes"], indirect=True)
def test_sorting_by_mouse_and_keyboard_says_its_direction(opened: Page) -> None:
    heading = opened.locator("#table-of-classes th", has_text="top-1")
    before = numbers_of(opened)
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert numbers_of(opened) == sorted(before, reverse=True)
    heading.get_by_role("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert numbers_of(opened) == sorted(before)
    arrow = "getComputedStyle(document.querySelector('th[aria-sort] button'), '::after').content"
    assert "▲" in opened.evaluate(arrow)
    names = opened.locator("#table-of-classes th").first
    names.get_by_role("button").press("Space")
    assert names.get_attribute("aria-sort") == "ascending" and heading.get_attribute("aria-sort") is None
    assert column(opened, "table-of-classes", 1) == [f"class {label}" for label in range(100)]  # by value


def numbers_of(page: Page) -> list[float]:
    return [float(text.split()[0]) for text in column(page, "table-of-classes", 4)]


@pytest.mark.parametrize("opened", ["100 classes"], indirect=True)
def test_a_name_opens_its_class(opened: Page) -> None:
    opened.get_by_role("link", name="class 42", exact=True).click()
    card = opened.locator("#class-42")
    expect(card).to_be_visible()
    assert card.get_attribute("open") is not None
    assert opened.locator("#cards > :visible").count() == 1
    expect(card.locator("img").first).to_be_in_viewport()


@pytest.mark.parametrize("opened", ["100 classes"], indirect=True)
def test_print_is_white_whole_and_splits_no_figure(opened: Page) -> None:
    opened.get_by_label("Find a class").fill("class 77")
    opened.emulate_media(media="print", color_scheme="dark")
    opened.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert opened.locator("details:not([open])").count() == 0
    assert opened.locator("#pairs tbody tr:visible").count() == 100
    assert opened.locator("#table-of-classes tbody tr:visible").count() == 100
    assert not opened.get_by_label("Find a class").is_visible()
    assert opened.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    avoiding = "[...document.querySelectorAll('figure')].map((one) => getComputedStyle(one).breakInside)"
    assert set(opened.evaluate(avoiding)) == {"avoid"}
    opened.set_viewport_size(PAPER)  # type: ignore[arg-type]
    tallest = "Math.max(...[...document.querySelectorAll('figure')].map((one) => one.offsetHeight))"
    assert opened.evaluate(tallest) <= PAPER["height"]
    # Chromium leaves out the buttons of headings that it repeats on later pages.
    assert (
        opened.evaluate("getComputedStyle(document.querySelector('#pairs thead button')).display")
        == "contents"
    )
    opened.evaluate("dispatchEvent(new Event('afterprint'))")
    opened.emulate_media(media="screen", color_scheme="light")
    assert column(opened, "table-of-classes", 1) == ["class 77"]
    opened.get_by_label("Find a class").fill("")


def test_without_the_script_verdict_tables_and_figures_are_there(browser: Browser, pages: Pages) -> None:
    with browser.new_context(offline=True, java_script_enabled=False) as context, context.new_page() as page:
        page.goto(pages["names"].page.url)
        expect(page.locator(".verdict")).to_contain_text("8 classes in 3 steps")
        for figure in ("accuracy", "timeline", "old_and_new", "reliability", "memory", "training"):
            painted = pixels(page, f"#figure-{figure} .drawing.wide")
            assert len(np.unique(painted.reshape(-1, 3), axis=0)) > 10, figure
        assert len(np.unique(pixels(page, "#figure-confusion .cells").reshape(-1, 3), axis=0)) > 4
        assert page.locator("#table-of-classes tbody tr:visible").count() == 8
        assert page.locator(".card > summary:visible").count() == 8
        assert not page.get_by_label("Find a class").is_visible()
