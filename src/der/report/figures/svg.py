"""SVG as matplotlib writes it, made small and fit to stand inside of a page, in the page's own colours."""

import re

from der.summary.charts.colours import GRID, INK, MUTED, PAGE

COLOURS = {INK: "--text", MUTED: "--muted", GRID: "--line", PAGE: "--page"}  # by the style sheet
REMOVED = (  # what the page says itself, or nobody needs
    r"^.*?(?=<svg )",
    r"<defs>\s*<style.*?</style>\s*</defs>",
    r"<metadata>.*?</metadata>",
    r"(?<=<svg )[^>]*(?=viewBox)",
    r' xmlns="[^"]*" version="1.1"',
    r" font-family: '[^']*';",
    r"; stroke-line(?:cap: square|join: miter)(?=[;\"])",
    r' transform="rotate\(-0 [^"]*\)"',
    r' id="(?!(?:m|p)[0-9a-f]{10}")[^"]*"',  # but those of markers and clipping paths
    r"<g/>",
)
TAG = re.compile(r"<[^>]+>")
PATH = re.compile(r'(?<= d=")[^"]*')
LONG_NUMBER = re.compile(r"-?\d+\.\d{2,}")


def inline_svg(text: str, name: str) -> str:
    """The element of a drawing; ``name`` keeps its references from those of other drawings in the page."""
    for pattern in REMOVED:
        text = re.sub(pattern, "", text, flags=re.DOTALL)
    while "<g></g>" in (text := re.sub(r">\s+<", "><", text).replace("<g/>", "")):
        text = text.replace("<g></g>", "")
    text = TAG.sub(lambda tag: _short_tag(tag[0], name), text).strip()
    return text.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)


def _short_tag(tag: str, name: str) -> str:
    tag = LONG_NUMBER.sub(lambda number: f"{round(float(number[0]), 1):g}", tag)
    tag = re.sub(r"\s+", " ", tag).replace("xlink:href", "href")
    tag = re.sub(r'(id="|#)([mp][0-9a-f]{10})', rf"\g<1>{name}-\g<2>", tag)
    tag = PATH.sub(lambda path: re.sub(r" ?([A-Za-z]) ?", r"\1", path[0]), tag)
    for colour, variable in COLOURS.items():
        tag = re.sub(colour, f"var({variable})", tag, flags=re.IGNORECASE)
    return re.sub(r"([;:]) ", r"\1", tag)
