"""Drawings inside of the page: in its colours, without what a page does not need, small."""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

from der.report.figures.svg import inline_svg
from der.summary.charts.accuracy import accuracy_chart
from der.summary.charts.colours import ACCURACIES, GRID, INK, MUTED
from der.summary.drawing.line_chart import line_drawing
from tests.report.report_runs import make_run

CHART = accuracy_chart(make_run([2] * 4).summary)
TEXT = line_drawing(CHART, 400, 200, (2.0,)).text
SVG = inline_svg(TEXT, "one")


def test_an_element_is_left_that_can_stand_in_a_page() -> None:
    root = ElementTree.fromstring(SVG)
    assert root.tag == "svg" and root.get("viewBox") == "0 0 400 266"
    assert root.get("width") is None and root.get("aria-hidden") == "true"
    for word in ("<?xml", "DOCTYPE", "<style", "metadata", "font-family", "xlink"):
        assert word not in SVG
    assert len(SVG) < 0.6 * len(TEXT)


def test_ink_is_the_pages_and_lines_keep_their_colours() -> None:
    for colour in (INK, MUTED, GRID):
        assert colour.lower() in TEXT and colour.lower() not in SVG.lower()
    assert {"var(--text)", "var(--muted)", "var(--line)"} <= set(re.findall(r"var\(--\w+\)", SVG))
    assert ACCURACIES["top1"].lower() in SVG


def test_references_hold_and_are_the_drawings_own() -> None:
    for name in ("one", "two"):
        svg = inline_svg(TEXT, name)
        ids = set(re.findall(r' id="([^"]*)"', svg))
        used = set(re.findall(r'(?:href="#|url\(#)([^")]*)', svg))
        assert used == ids and ids and all(one.startswith(f"{name}-") for one in ids)


def test_texts_are_left_alone() -> None:
    title = "0.123456789  <b> & #1A1D21"
    axis = replace(CHART.panels[0].axis, label=title, unit="")
    chart = replace(CHART, panels=(replace(CHART.panels[0], axis=axis),))
    root = ElementTree.fromstring(inline_svg(line_drawing(chart, 400, 200, ()).text, "one"))
    assert title in [text.text for text in root.iter("text")]
