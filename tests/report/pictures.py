"""The pictures of a page in README.md: `python -m tests.report.pictures metrics/report.html docs/figures`.

Two parts of the page as Chromium paints them: the verdict with the curve, and the confusion with the images
behind its largest error. PNG files with a palette, which are a third as large.
"""

import argparse
import io
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from tests.report.browser import CHROMIUM, FLAGS

WIDTH, SCALE = 1024, 1.5  # of the window in pixels, and of the picture beside it
COLOURS = 256
MARGIN = 16  # pixels


def take(page: Page, first: str, last: str, bottom: int = 0) -> Image.Image:
    """A picture from the top of one element to the bottom of another, ``bottom`` pixels further."""
    boxes = [page.locator(one).first.bounding_box() for one in (first, last)]
    assert boxes[0] is not None and boxes[1] is not None
    top = max(boxes[0]["y"] + page.evaluate("scrollY") - MARGIN, 0)
    end = boxes[1]["y"] + page.evaluate("scrollY") + boxes[1]["height"] + MARGIN + bottom
    clip = {"x": 0, "y": top, "width": WIDTH, "height": end - top}
    taken = page.screenshot(full_page=True, clip=clip)  # type: ignore[arg-type]
    return Image.open(io.BytesIO(taken)).convert("RGB")


def save(picture: Image.Image, path: Path) -> None:
    """Write a PNG file with a palette."""
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


def point_at_largest_error(page: Page) -> None:
    """Move the pointer to the cell of the most frequent confusion, the first row of the table of pairs."""
    true, predicted = page.locator("#pairs tbody tr").first.locator("td.name").all_text_contents()
    names = page.evaluate("data.confusion.names")
    box = page.locator("#figure-confusion .cells").bounding_box()
    assert box is not None
    x = box["x"] + (names.index(predicted) + 0.5) / len(names) * box["width"]
    y = box["y"] + (names.index(true) + 0.5) / len(names) * box["height"]
    page.mouse.move(x, y)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        window = {"width": WIDTH, "height": 900}
        page = browser.new_page(viewport=window, device_scale_factor=SCALE)  # type: ignore[arg-type]
        page.goto(arguments.page.resolve().as_uri())
        save(take(page, "header", "#figure-accuracy"), arguments.folder / "page_verdict.png")
        page.set_viewport_size({"width": WIDTH, "height": 1400})
        page.locator("#confusion").evaluate("section => scrollTo(0, section.offsetTop)")
        point_at_largest_error(page)
        save(take(page, "#confusion", "#figure-confusion"), arguments.folder / "page_confusion.png")
        browser.close()


if __name__ == "__main__":
    main()
