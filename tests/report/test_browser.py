"""The page in Chromium, without a network: what a reader sees, by pixels where it is a matter of pixels."""

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from der.summary.series import show_number, show_share
from tests.report.browser import (
    COMPARISON,
    DESK,
    PAGES,
    PAPER,
    PHONE,
    RUNS,
    Pages,
    column,
    hover_cell,
    pixels,
)

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("opened", PAGES, indirect=True)
def test_the_page_fits_a_phone_and_no_table_breaks_a_name(opened: Page) -> None:
    for size in (PHONE, DESK):
        opened.set_viewport_size(size)  # type: ignore[arg-type]
        assert opened.evaluate("document.documentElement.scrollWidth") == size["width"]
        for figure in opened.locator("figure").all():
            box = figure.bounding_box()
            assert box is not None and box["height"] > 60 and box["x"] + box["width"] <= size["width"]
        wide = "all => all.filter((one) => one.scrollWidth > one.clientWidth).length"
        assert opened.locator(".scroll:has(.compared)").evaluate_all(wide) == 0
    broken = """() => [...document.querySelectorAll('td.name')].filter((cell) => {
        const longest = Math.max(...cell.textContent.trim().split(/\\s+/).map((word) => word.length));
        return cell.scrollWidth > cell.clientWidth + 1
            || getComputedStyle(cell).overflowWrap !== 'normal' && longest > 0;
    }).length"""
    assert opened.evaluate(broken) == 0


@pytest.mark.parametrize("opened", ["names", "long names", COMPARISON], indirect=True)
def test_axe_finds_no_violation(opened: Page) -> None:
    for scheme in ("light", "dark"):
        opened.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        found = Axe().run(opened)
        assert found.violations_count == 0, found.generate_report()


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
    expect(figure.locator(".rule")).to_be_visible()
    figure.focus()
    opened.keyboard.press("Home")
    expect(tip).to_contain_text("step 1, 4 classes")
    opened.locator("#figure-timeline").focus()
    opened.keyboard.press("Home")
    expect(tip).to_contain_text("download")
    expect(tip).to_contain_text("taken from the cache")
    opened.keyboard.press("Escape")


@pytest.mark.parametrize("opened", ["100 classes"], indirect=True)
def test_search_reaches_tables_class_and_figure(opened: Page) -> None:
    box = opened.get_by_label("Find a class")
    everything = len(column(opened, "pairs", 1))
    box.fill("CLASS 77")
    assert column(opened, "table-of-classes", 1) == ["class 77"]
    pairs = list(zip(column(opened, "pairs", 1), column(opened, "pairs", 2), strict=True))
    assert 0 < len(pairs) < everything and all("class 77" in pair for pair in pairs)
    expect(opened.locator("#found")).to_have_text(f"{len(pairs)} pairs, 1 class")
    expect(opened.locator("#class-77")).to_be_visible()
    found = opened.locator("#figure-confusion .rows .found")
    assert found.all_text_contents() == ["class 77"]
    opened.locator("#figure-confusion").scroll_into_view_if_needed()
    expect(found).to_be_in_viewport()
    box.fill("class 42")  # which others are taken for most often
    assert column(opened, "table-of-classes", 1) == ["class 42"]
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
    assert opened.locator(".scripted:visible").count() == 0
    assert opened.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert opened.locator(".cells img.light:visible").count() == 2
    assert opened.locator(".cells img.dark:visible").count() == 0
    whole = "[...document.querySelectorAll('figure, .key')]"
    avoiding = f"{whole}.map((one) => getComputedStyle(one).breakInside)"
    assert set(opened.evaluate(avoiding)) == {"avoid"}
    opened.set_viewport_size(PAPER)  # type: ignore[arg-type]
    tallest = "Math.max(...[...document.querySelectorAll('figure')].map((one) => one.offsetHeight))"
    assert opened.evaluate(tallest) <= PAPER["height"]
    wide = "all => all.filter((one) => one.scrollWidth > one.clientWidth).length"
    assert opened.locator(".scroll").evaluate_all(wide) == 0
    # Chromium leaves out the buttons of headings that it repeats on later pages.
    display = "getComputedStyle(document.querySelector('#pairs thead button')).display"
    assert opened.evaluate(display) == "contents"
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


def test_the_slider_moves_the_figure(opened: Page) -> None:
    before = pixels(opened, "#figure-confusion .cells")
    numbers = opened.locator("#figure-confusion .numbers b")
    written = sorted(numbers.all_text_contents())
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
    assert sorted(numbers.all_text_contents()) == written
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


def test_a_tap_shows_what_is_there_until_one_taps_elsewhere(browser: Browser, pages: Pages) -> None:
    with browser.new_context(offline=True, viewport=PHONE, has_touch=True) as context:  # type: ignore[arg-type]
        page = context.new_page()
        page.goto(pages["names"].page.url)
        for figure in ("#figure-confusion .cells", "#figure-accuracy_matrix .cells", "#figure-accuracy"):
            page.locator(figure).tap()
            expect(page.locator("#tip")).to_be_visible()
            page.locator("h1").tap()
            expect(page.locator("#tip")).to_be_hidden()


def test_script_and_page_round_by_one_rule(opened: Page) -> None:
    counts = [(count, of) for of in (8, 40, 200, 2000) for count in range(min(of, 40) + 1)]
    said = opened.evaluate("counts => counts.map((one) => [share(...one), share(...one, 1)])", counts)
    assert said == [[show_share(*one), show_share(*one, 1)] for one in counts]
    values = [round(100 * count / of, 4) for count, of in counts]
    said = opened.evaluate("values => values.map((value) => value.toFixed(1))", values)
    assert said == [show_number(value, 1) for value in values]


# Of each side of a matrix: how many names are shown, and how many lie on another by more than a pixel.
NAMES = """() => [...document.querySelectorAll('.names')].map((side) => {
    const [start, end] = side.classList.contains('rows') ? ['top', 'bottom'] : ['left', 'right'];
    const boxes = [...side.querySelectorAll('.plane span, .plane b')].filter((name) => name.offsetParent)
        .map((name) => name.getBoundingClientRect()).sort((one, other) => one[start] - other[start]);
    const on = boxes.filter((box, index) => index && box[start] < boxes[index - 1][end] - 1);
    return [boxes.length, on.length];
})"""


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("opened", ["100 steps", "100 classes", "long names", "names"], indirect=True)
def test_no_name_lies_on_another_at_any_zoom(opened: Page, size: dict[str, int]) -> None:
    opened.set_viewport_size(size)  # type: ignore[arg-type]
    buttons = opened.get_by_role("button", name="Zoom in")
    shown = []
    for _ in range(4):
        sides = opened.evaluate(NAMES)
        assert min(names for names, _ in sides) >= 2 and not any(overlaps for _, overlaps in sides)
        shown.append(sum(names for names, _ in sides))
        for button in buttons.all():
            button.click()
    assert shown == sorted(shown)
    for button in opened.get_by_role("button", name="All", exact=True).all():
        button.click()
