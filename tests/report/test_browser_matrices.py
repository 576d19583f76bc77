"""The page's matrices in Chromium: by pixels where it is a matter of pixels."""

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from der.summary.series import show_number, show_share
from tests.report.browser import DESK, PHONE, RUNS, Pages, hover_cell, pixels

pytestmark = pytest.mark.slow


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


@pytest.mark.parametrize("opened", ["100 classes"], indirect=True)
def test_the_page_follows_the_keyboard(opened: Page) -> None:
    opened.set_viewport_size({"width": 1280, "height": 500})  # less than the matrix is high
    opened.evaluate("scrollTo(0, 0)")
    opened.locator("#figure-confusion").focus()
    opened.keyboard.press("ArrowLeft")
    cursor, tip = opened.locator("#figure-confusion .cursor"), opened.locator("#tip")
    expect(cursor).to_be_in_viewport()
    expect(tip).to_be_visible()
    for _ in range(60):
        opened.keyboard.press("ArrowUp")
    expect(cursor).to_be_in_viewport()
    expect(tip).to_contain_text("class 39 taken for class 98")
    opened.keyboard.press("Escape")


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
    for _ in range(4):
        sides = opened.evaluate(NAMES)
        assert min(names for names, _ in sides) >= 2 and not any(overlaps for _, overlaps in sides)
        for button in buttons.all():
            button.click()
    for button in opened.get_by_role("button", name="All", exact=True).all():
        button.click()


@pytest.mark.parametrize("opened", ["100 steps"], indirect=True)
def test_forgetting_of_many_steps_can_be_zoomed(opened: Page) -> None:
    names = opened.locator("#figure-accuracy_matrix .rows .plane span")
    hidden = names.nth(1)
    expect(hidden).to_be_hidden()
    expect(names.first).to_be_visible()
    buttons = opened.get_by_role("group", name="Zoom of the forgetting matrix")
    for _ in range(3):
        buttons.get_by_role("button", name="Zoom in").click()
    expect(hidden).to_be_visible()
    assert opened.locator("#figure-confusion.zoomed").count() == 0
    buttons.get_by_role("button", name="All", exact=True).click()
    expect(hidden).to_be_hidden()
