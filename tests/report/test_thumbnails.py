"""Pictures inside of the page: in order, bounded, and those of the mistakes that they stand for."""

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from der.report.thumbnails import (
    COLUMNS,
    LARGEST,
    MOST_EXEMPLARS,
    MOST_MISTAKES,
    MOST_PIXELS,
    exemplar_sheets,
    make_sheet,
    mistake_album,
    side_of,
)
from tests.report.report_runs import make_run


def decode(uri: str) -> np.ndarray:
    image = Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/webp;base64,"))))
    return np.asarray(image.convert("RGBA"))


def tile(pixels: np.ndarray, place: int, side: int, pitch: int) -> np.ndarray:
    top, left = place // COLUMNS * pitch, place % COLUMNS * pitch
    return pixels[top : top + side, left : left + side]


@pytest.mark.parametrize("channels", [1, 3])
def test_sheets_of_small_images_show_every_pixel_in_order(channels: int) -> None:
    run = make_run([2, 1], exemplars=13, channels=channels)
    for label, sheet in enumerate(exemplar_sheets(run.memory, 3)):
        pixels = decode(sheet.uri)
        assert pixels.shape == (2 * 9, 10 * 9, 4) and (sheet.shown, sheet.total) == (13, 13)
        assert sheet.width / pixels.shape[1] == sheet.height / pixels.shape[0] == sheet.pitch / 9
        for place, image in enumerate(run.memory.of_class(label)):
            shown = tile(pixels, place, 8, 9)
            np.testing.assert_array_equal(shown[..., :3], np.broadcast_to(image, (8, 8, 3)))
            assert (shown[..., 3] == 255).all()
        assert (pixels[:, 8::9, 3] == 0).all() and (pixels[9:, 27:, 3] == 0).all()


def test_sheets_of_large_images_look_like_them() -> None:
    across = np.linspace(0, 255, 32).astype(np.uint8)
    image = np.stack([np.tile(across, (32, 1))] * 3, axis=-1)
    pixels = decode(make_sheet(image[None], 32).uri)
    assert np.abs(pixels[:32, :32, :3].astype(int) - image).mean() < 8


def test_pictures_are_bounded() -> None:
    run = make_run([4], exemplars=MOST_EXEMPLARS + 5, side=100, channels=3)
    sheets = exemplar_sheets(run.memory, 4)
    assert [(sheet.side, sheet.shown, sheet.total) for sheet in sheets] == [(LARGEST, MOST_EXEMPLARS, 25)] * 4
    many = np.zeros((1, 40, 40, 3), np.uint8)
    assert side_of(many, 3000) ** 2 * 3000 <= MOST_PIXELS < (side_of(many, 3000) + 1) ** 2 * 3000


def test_a_class_without_exemplars() -> None:
    run = make_run([3])
    memory = replace(run.memory, labels=np.where(run.memory.labels == 1, 2, run.memory.labels))
    assert [sheet.shown for sheet in exemplar_sheets(memory, 3)] == [2, 0, 4]


def test_every_mistake_finds_its_picture_at_every_step() -> None:
    run = make_run([2, 2, 2], right=0.7)
    album = mistake_album(run.mistakes, run.names)
    sheets = [decode(sheet.uri) for sheet in album.sheets]
    found = 0
    for mistakes, by_label in zip(run.mistakes, album.shots, strict=True):
        wanted = {
            (entry.true, entry.predicted, image.tobytes())
            for entry, image in zip(mistakes.entries, mistakes.images, strict=True)
        }
        for label, shots in enumerate(by_label):
            for shot in shots:
                pixels = np.ascontiguousarray(tile(sheets[label], shot.place, 8, 9)[..., 0])
                assert (run.names[label], run.names[shot.predicted], pixels.tobytes()) in wanted
                found += 1
    assert found == sum(len(one.entries) for one in run.mistakes)


def test_of_many_mistakes_the_last_steps_surest_come_first() -> None:
    run = make_run([2, 60], right=0.0)
    album = mistake_album(run.mistakes, run.names)
    assert max(sheet.shown for sheet in album.sheets) <= MOST_MISTAKES
    surest = [entry for entry in run.mistakes[-1].entries if entry.true == run.names[0]]
    shots = album.shots[-1][0]
    assert [shot.place for shot in shots] == list(range(len(shots)))
    assert [shot.probability for shot in shots] == [entry.probability for entry in surest[: len(shots)]]
