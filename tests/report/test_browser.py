"""The page in Chromium, without a network: what a reader sees."""

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.report.browser import COMPARISON, DESK, PAGES, PAPER, PHONE, RUNS, Pages, column, pixels

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
