"""Pages in Chromium, without a network: one browser, and one page for every run.

Each test leaves its page as it found it.
"""

import io
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import BrowserContext, Page, expect

from der.report.page import ComparedRun, render, render_comparison, write_page
from der.summary.series import Curve
from tests.report.report_runs import ODD_NAMES, make_run, with_times, without_mistakes

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
PAPER = {"width": 680, "height": 1009}  # pixels of an A4 page within margins of 15 mm
PUBLISHED = Curve("<i>preset</i>, without pruning", "A paper", [4, 6, 8], [90.0, 85.0, 80.0])
LONG_NAMES = [f"a name nobody would call short {odd} {n}" for n in range(13) for odd in ("true", "false")]
LONG_NAMES[0], LONG_NAMES[13] = "w" * 120, "x" * 120
RUNS = {
    "joint": without_mistakes(make_run([2])),
    "names": with_times(replace(make_run([4, 2, 2], ODD_NAMES, right=0.8), published=[PUBLISHED]), 2),
    "100 classes": make_run([10] * 10, phases=("representation", "classifier")),
    "long names": make_run([13, 13], LONG_NAMES),
    "100 steps": with_times(make_run([1] * 100)),
}
COMPARISON = "comparison"
COMPARED = [
    ComparedRun(f"a <run> of {name}", "0123abc", RUNS[name].summary, {"protocol.steps": f"[{name}]" * 9})
    for name in ("names", "100 classes", "joint")
]
PAGES = (*RUNS, COMPARISON)
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


class Pages(dict[str, Watched]):
    """The page of every run and of their comparison, made and opened when it is first asked for."""

    def __init__(self, context: BrowserContext, directory: Path) -> None:
        super().__init__()
        self.context, self.directory = context, directory

    def __missing__(self, name: str) -> Watched:
        file = self.directory / f"{name}.html"
        write_page(render_comparison(COMPARED) if name == COMPARISON else render(RUNS[name]), file)
        self[name] = Watched(self.context.new_page(), file)
        return self[name]


def pixels(page: Page, selector: str) -> np.ndarray:
    """What is painted of an element, (height, width, 3)."""
    return np.asarray(Image.open(io.BytesIO(page.locator(selector).first.screenshot())).convert("RGB"))


def hover_cell(page: Page, row: int, column: int, count: int) -> None:
    cells = page.locator("#figure-confusion .cells")
    cells.scroll_into_view_if_needed()
    # A page is told of scrolling in its next frame, and then hides what it says of a cell.
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    box = cells.bounding_box()
    assert box is not None
    place = {"x": (column + 0.5) / count * box["width"], "y": (row + 0.5) / count * box["height"]}
    cells.hover(position=place, force=True)  # type: ignore[arg-type]
    expect(page.locator("#tip")).to_be_visible()


def column(page: Page, table: str, number: int) -> list[str]:
    cells = page.locator(f"#{table} tbody tr:not([hidden]) td:nth-child({number})")
    return [" ".join(text.split()) for text in cells.all_text_contents()]
