"""Pictures inside of the page: in order, bounded, and those of the mistakes that they stand for."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from der.evaluation.results import Mistake
from der.report import thumbnails
from tests.report.report_runs import make_run


def decode(uri: str) -> np.ndarray:
    image = Image.open(io.BytesIO(base64.b64decode(uri.partition(";base64,")[2])))
    return np.asarray(image.convert("RGBA"))


def tile(pixels: np.ndarray, place: int, side: int, pitch: int) -> np.ndarray:
    top, left = place // thumbnails.COLUMNS * pitch, place % thumbnails.COLUMNS * pitch
    return pixels[top : top + side, left : left + side]


@pytest.mark.parametrize("channels", [1, 3])
def test_sheets_of_small_images_show_every_pixel_in_order(channels: int) -> None:
    run = make_run([2, 1], exemplars=13, channels=channels)
    for label, sheet in enumerate(thumbnails.exemplar_sheets(run.memory, 3)):
        pixels = decode(sheet.uri)
        assert pixels.shape == (2 * 9, 10 * 9, 4) and (sheet.shown, sheet.total) == (13, 13)
        assert sheet.width / pixels.shape[1] == sheet.height / pixels.shape[0] == sheet.pitch / 9
        for place, image in enumerate(run.memory.of_class(label).copy()):
            shown = tile(pixels, place, 8, 9)
            np.testing.assert_array_equal(shown[..., :3], np.broadcast_to(image, (8, 8, 3)))
            assert (shown[..., 3] == 255).all()
        assert (pixels[:, 8::9, 3] == 0).all() and (pixels[9:, 27:, 3] == 0).all()


def test_pictures_are_bounded() -> None:
    run = make_run([4], exemplars=thumbnails.MOST_EXEMPLARS + 5, side=100, channels=3)
    sheets = thumbnails.exemplar_sheets(run.memory, 4)
    assert [(sheet.side, sheet.shown, sheet.total) for sheet in sheets] == [
        (thumbnails.LARGEST, thumbnails.MOST_EXEMPLARS, 25)
    ] * 4
    assert (
        thumbnails.side_of(40, 3000) ** 2 * 3000
        <= thumbnails.MOST_PIXELS
        < (thumbnails.side_of(40, 3000) + 1) ** 2 * 3000
    )


def test_every_mistake_finds_its_picture_at_every_step() -> None:
    run = make_run([2, 2, 2], right=0.7)
    album = thumbnails.mistake_album(run.mistakes, run.confusions, run.names)
    sheets = [decode(sheet.uri) for sheet in album.sheets]
    found = 0
    for mistakes, by_label in zip(run.mistakes, album.shots, strict=True):
        wanted = {
            (entry.true, entry.predicted, image.tobytes())
            for entry, image in zip(mistakes.entries, mistakes.images, strict=True)
        }
        for label, shots in by_label.items():
            for place, predicted, _ in shots:
                pixels = np.ascontiguousarray(tile(sheets[label], place, 8, 9)[..., 0])
                assert (run.names[label], run.names[predicted], pixels.tobytes()) in wanted
                found += 1
    assert found == sum(len(one.entries) for one in run.mistakes)


def test_of_many_mistakes_some_are_shown_and_all_are_counted() -> None:
    run = make_run([2, 60], right=0.0)
    album = thumbnails.mistake_album(run.mistakes, run.confusions, run.names)
    for label, sheet in enumerate(album.sheets):
        known = {
            entry.index for one in run.mistakes for entry in one.entries if entry.true == run.names[label]
        }
        wrong = [int(one[label].sum() - one[label, label]) for one in run.confusions if label < len(one)]
        assert sheet.total == max(len(known), *wrong) >= sheet.shown
        assert sheet.shown == min(len(known), thumbnails.MOST_MISTAKES)
    assert not album.whole  # the evaluation kept 1,000
    few = make_run([2, 2])
    assert thumbnails.mistake_album(few.mistakes, few.confusions, few.names).whole


def mistake(number: int, predicted: str, probability: float) -> Mistake:
    return Mistake("a", predicted, probability, number)


def test_chosen_mistakes_are_of_every_step_and_every_pair() -> None:
    """Forty sure mistakes of one pair after the last step do not displace the others."""
    first = [mistake(100 + n, "b", 0.9) for n in range(5)]
    last = [mistake(n, "b", 0.9) for n in range(40)] + [mistake(50, "c", 0.5), mistake(51, "d", 0.4)]
    chosen = thumbnails.choose_mistakes([first, [], last], 6)
    assert chosen == [0, 50, 51, 100, 101, 102]  # the last step's first, as sure as they were
    assert thumbnails.choose_mistakes([first, [], last], 3) == [0, 50, 100]
