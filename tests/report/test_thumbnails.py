"""Pictures inside of the page: in order, and bounded."""

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from der.report.page import render
from der.report.thumbnails import LARGEST_EXEMPLAR, MOST_EXEMPLARS, MOST_PIXELS, exemplar_sheets
from tests.report.report_runs import make_run


def decode(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,"))))


@pytest.mark.parametrize("channels", [1, 3])
def test_sheets_show_exemplars_in_order(channels: int) -> None:
    run = make_run([2, 1], exemplars=13, channels=channels)
    sheets = exemplar_sheets(run.memory, run.names)
    assert not sheets.cut and sheets.side == sheets.original == 8
    for label, sheet in enumerate(sheets.sheets):
        pixels = np.asarray(decode(sheet.picture.uri))
        assert pixels.shape == (2 * 9, 10 * 9, channels + 1)
        for place, image in enumerate(run.memory.of_class(label)):
            top, left = 9 * (place // 10), 9 * (place % 10)
            np.testing.assert_array_equal(pixels[top : top + 8, left : left + 8, :-1], image)
        assert (pixels[:, 8::9, -1] == 0).all() and (pixels[9:, 27:, -1] == 0).all()


def test_pictures_are_bounded_and_the_page_says_so() -> None:
    run = make_run([4], exemplars=MOST_EXEMPLARS + 5, side=100, channels=3)
    sheets = exemplar_sheets(run.memory, run.names)
    assert sheets.side == LARGEST_EXEMPLAR
    assert [(sheet.shown, sheet.total) for sheet in sheets.sheets] == [(MOST_EXEMPLARS, 25)] * 4
    page = render(run)
    assert "Shown of each class: at most the first 20." in page
    assert "Scaled down from 100 to 64 pixels." in page
    many = exemplar_sheets(make_run([150], exemplars=20, side=40).memory, [str(n) for n in range(150)])
    assert many.side**2 * 150 * 20 <= MOST_PIXELS < (many.side + 1) ** 2 * 150 * 20


def test_a_class_without_exemplars() -> None:
    run = make_run([3])
    memory = replace(run.memory, labels=np.where(run.memory.labels == 1, 2, run.memory.labels))
    assert [sheet.shown for sheet in exemplar_sheets(memory, run.names).sheets] == [2, 0, 4]
