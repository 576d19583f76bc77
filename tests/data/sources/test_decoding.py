"""Pictures of every mode, against pixel values worked out by hand."""

import struct
from contextlib import AbstractContextManager, nullcontext
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from der.core.errors import UserError
from der.data.sources import pictures as decoding
from der.data.sources.pictures import read_picture, to_pixels

GREY = [[0, 100], [200, 255]]


def array(values: Any, kind: Any = np.uint8) -> Any:
    return np.array(values, dtype=kind)


def saved(tmp_path: Path, image: Image.Image, name: str, **options: Any) -> Path:
    image.save(tmp_path / name, **options)
    return tmp_path / name


def read(file: Path, side: int = 2, channels: int = 3) -> Any:
    return read_picture(file, str(file), side, channels)


def palette_image() -> Image.Image:
    """One pixel each of red, green, blue and white, as indices 0 to 3."""
    image = Image.fromarray(array([[0, 1], [2, 3]]), "P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255])
    return image


def test_rgb_of_the_right_size_is_unchanged(tmp_path: Path) -> None:
    pixels = np.random.RandomState(0).randint(0, 256, (9, 9, 3)).astype(np.uint8)
    for name in ("a.png", "a.bmp", "a.tiff", "a.ppm"):
        assert np.array_equal(read(saved(tmp_path, Image.fromarray(pixels), name), side=9), pixels)


def test_grey_becomes_three_equal_channels_and_back(tmp_path: Path) -> None:
    file = saved(tmp_path, Image.fromarray(array(GREY)), "a.png")
    assert np.array_equal(read(file, channels=1)[..., 0], GREY)
    assert np.array_equal(read(file), np.repeat(array(GREY)[..., None], 3, axis=2))


def test_colour_to_grey_is_itu_r_601(tmp_path: Path) -> None:
    file = saved(tmp_path, palette_image(), "a.png")
    wanted = np.array([[0.299, 0.587], [0.114, 1]]) * 255
    assert np.abs(read(file, channels=1)[..., 0] - wanted).max() <= 0.51


def test_bilevel(tmp_path: Path) -> None:
    file = saved(tmp_path, Image.fromarray(array([[0, 255], [255, 0]])).convert("1"), "a.png")
    assert read(file, channels=1).ravel().tolist() == [0, 255, 255, 0]


def test_palette_and_transparent_palette(tmp_path: Path) -> None:
    colours = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]
    assert read(saved(tmp_path, palette_image(), "a.gif")).reshape(-1, 3).tolist() == colours
    file = saved(tmp_path, palette_image(), "b.png", transparency=1)
    assert read(file).reshape(-1, 3).tolist() == [colours[0], [255, 255, 255], *colours[2:]]
    half = saved(tmp_path, palette_image(), "c.png", transparency=bytes([255, 255, 0, 255]))
    assert read(half).reshape(-1, 3).tolist() == [*colours[:2], [255, 255, 255], colours[3]]


@pytest.mark.parametrize("channels", [1, 3])
def test_alpha_is_composited_over_white(tmp_path: Path, channels: int) -> None:
    alpha = array([[0, 255], [128, 51]])
    grey = array([[10, 20], [0, 100]])
    # grey * alpha + 255 * (1 - alpha), alpha as a fraction
    wanted = array([[255, 20], [127, 224]])
    with_alpha = Image.fromarray(np.stack([grey, alpha], axis=2))
    colour = Image.fromarray(np.stack([grey, grey, grey, alpha], axis=2))
    for name, image in (("a.png", with_alpha), ("b.png", colour), ("c.tiff", colour)):
        result = read(saved(tmp_path, image, name), channels=channels)
        assert np.array_equal(result, np.repeat(wanted[..., None], channels, axis=2))


def test_transparent_colour_of_an_rgb_file(tmp_path: Path) -> None:
    image = Image.fromarray(array([[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [1, 2, 3]]]))
    file = saved(tmp_path, image, "a.png", transparency=(1, 2, 3))
    assert read(file).reshape(-1, 3).tolist() == [[255] * 3, [4, 5, 6], [7, 8, 9], [255] * 3]


@pytest.mark.parametrize(
    ("image", "rgb"),
    [
        (Image.new("CMYK", (2, 2), (0, 255, 255, 0)), (255, 0, 0)),
        (Image.new("CMYK", (2, 2), (0, 0, 0, 255)), (0, 0, 0)),
        (Image.new("YCbCr", (2, 2), (255, 128, 128)), (255, 255, 255)),
        (Image.new("HSV", (2, 2), (0, 255, 255)), (255, 0, 0)),
        (Image.new("LAB", (2, 2), (255, 128, 128)), (255, 255, 255)),
        (Image.new("LAB", (2, 2), (0, 128, 128)), (0, 0, 0)),
        (Image.new("PA", (2, 2), (0, 0)), (255, 255, 255)),
        (Image.new("RGBX", (2, 2), (9, 8, 7, 0)), (9, 8, 7)),
        (Image.new("RGBa", (2, 2), (50, 0, 0, 51)), (254, 204, 204)),
        (Image.new("La", (2, 2), (0, 51)), (204, 204, 204)),
    ],
)
def test_other_colour_spaces(image: Image.Image, rgb: tuple[int, int, int]) -> None:
    assert np.abs(to_pixels(image, 2, 3).astype(int) - rgb).max() <= 1


@pytest.mark.parametrize("kind", ["<u2", ">u2"])
def test_16_bit_grey_is_scaled_not_clipped(tmp_path: Path, kind: str) -> None:
    deep = Image.fromarray(array([[0, 257 * 100], [257 * 200 + 128, 65535]], kind))
    assert deep.mode == ("I;16" if kind == "<u2" else "I;16B")
    assert np.array_equal(to_pixels(deep, 2, 1)[..., 0], GREY)
    assert np.array_equal(read(saved(tmp_path, deep, "a.tiff"), channels=1)[..., 0], GREY)


def test_16_bit_png_and_pgm(tmp_path: Path) -> None:
    deep = Image.fromarray(array(GREY, np.uint16) * 257)
    for name in ("a.png", "a.pgm"):
        assert np.array_equal(read(saved(tmp_path, deep, name), channels=1)[..., 0], GREY)


@pytest.mark.parametrize("channels", [1, 3])
def test_transparent_grey_of_a_16_bit_png(tmp_path: Path, channels: int) -> None:
    deep = Image.fromarray(array([[1000, 1001], [257 * 200, 0]], np.uint16))  # the first two are 4 in 8 bits
    file = saved(tmp_path, deep, "a.png", transparency=1000)
    wanted = array([[255, 4], [200, 0]])
    assert np.array_equal(read(file, channels=channels), np.repeat(wanted[..., None], channels, axis=2))


def test_dark_16_bit_grey_stays_dark() -> None:
    assert to_pixels(Image.fromarray(array([[0, 100], [200, 255]], np.uint16)), 2, 1).max() == 1


@pytest.mark.parametrize(
    ("kind", "white"), [(np.int32, 255), (np.int32, 65535), (np.float32, 1), (np.float32, 255)]
)
def test_32_bit_grey_takes_the_smallest_range_that_holds_it(tmp_path: Path, kind: Any, white: int) -> None:
    image = Image.fromarray((array(GREY, np.float64) / 255 * white).astype(kind))
    assert image.mode in ("I", "F")
    assert np.array_equal(read(saved(tmp_path, image, "a.tiff"), channels=1)[..., 0], GREY)


@pytest.mark.parametrize("value", [-1.0, 65536.0, float("nan"), float("inf")])
def test_numbers_that_are_no_brightness(tmp_path: Path, value: float) -> None:
    file = saved(tmp_path, Image.fromarray(array([[0, value]], np.float32)), "a.tiff")
    with pytest.raises(UserError, match=r"a\.tiff: cannot be read as a picture.*outside 0 to 65535"):
        read(file)


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    file = saved(tmp_path, Image.fromarray(array(GREY)), "a.png", exif=exif)
    assert read(file, channels=1)[..., 0].tolist() == [[200, 0], [255, 100]]


@pytest.mark.parametrize(
    ("tag", "kind", "value"),
    [
        (0x0128, 4, b"\xff\xff\xff\xff"),  # the unit of resolution as a number that is too large
        (0x010F, 5, b"\x08\0\0\0"),  # the maker as a fraction
        (0x011A, 2, b"72\0"),  # the resolution as text
    ],
)
def test_a_photo_is_turned_whatever_else_its_exif_data_hold(
    tmp_path: Path, tag: int, kind: int, value: bytes
) -> None:
    """Cameras and programs write them in other ways than the standard, or damage them."""
    turned = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)  # as above
    other = struct.pack("<HHI4s", tag, kind, len(value) if kind == 2 else 1, value)
    exif = b"II*\0" + struct.pack("<IH", 8, 2) + b"".join(sorted([turned, other])) + bytes(4)
    file = saved(tmp_path, Image.fromarray(array(GREY)), "a.png", exif=b"Exif\0\0" + exif)
    assert read(file, channels=1)[..., 0].tolist() == [[200, 0], [255, 100]]


def test_exif_data_that_cannot_be_read_turn_nothing(tmp_path: Path) -> None:
    text = PngInfo()
    text.add_text("Raw profile type exif", "\nexif\n 4\nno digits")
    file = saved(tmp_path, Image.fromarray(array(GREY)), "a.png", pnginfo=text)
    assert read(file, channels=1)[..., 0].tolist() == GREY


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("L", (2, 2), value) for value in (10, 200)]
    for name in ("a.gif", "a.png", "a.tiff"):
        file = saved(tmp_path, frames[0], name, save_all=True, append_images=frames[1:])
        assert np.all(read(file, channels=1) == 10)


def test_wide_and_tall_pictures_are_centre_cropped() -> None:
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = 255  # the centre square is white, the sides black
    assert np.all(to_pixels(Image.fromarray(wide), 8, 3) == 255)
    assert np.all(to_pixels(Image.fromarray(wide.transpose(1, 0, 2)), 8, 3) == 255)
    assert to_pixels(Image.fromarray(wide), 4, 3)[:, 1:3].min() > 240


def test_scaling_down_averages_instead_of_picking() -> None:
    checks = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    assert np.abs(to_pixels(Image.fromarray(checks), 8, 1).astype(int) - 127).max() <= 2


def test_large_jpeg_comes_out_as_if_decoded_whole(tmp_path: Path) -> None:
    blocks = np.random.RandomState(0).randint(0, 256, (32, 32)).astype(np.uint8)
    file = saved(tmp_path, Image.fromarray(np.kron(blocks, np.ones((4, 4), np.uint8))), "a.jpg", quality=95)
    whole = to_pixels(Image.open(file), 32, 1).astype(int)
    difference = np.abs(read(file, side=32, channels=1) - whole).mean()
    assert difference < 0.2 * whole.std(), (difference, whole.std())


def test_truncated_and_foreign_files_are_named(tmp_path: Path) -> None:
    noise = Image.fromarray(np.random.RandomState(0).randint(0, 256, (32, 32, 3)).astype(np.uint8))
    for name in ("a.png", "a.jpg", "a.gif", "a.bmp", "a.webp", "a.tiff"):
        file = saved(tmp_path, noise, name)
        file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
        with pytest.raises(UserError, match=f"{name}: cannot be read as a picture; repair or remove it"):
            read(file, side=32)
    for content in (b"", b"notes\n"):
        (tmp_path / "notes.txt").write_bytes(content)
        with pytest.raises(UserError, match=r"notes\.txt: cannot be read as a picture"):
            read(tmp_path / "notes.txt")


@pytest.mark.parametrize("name", ["IMG_0001.HEIC", "IMG_0001.JPG"])
@pytest.mark.parametrize("whole", [False, True], ids=["file", "stream"])
def test_what_cameras_write_is_to_be_converted_whatever_its_name(
    tmp_path: Path, name: str, whole: bool
) -> None:
    path = tmp_path / name
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64))
    with pytest.raises(
        match=f"{name}: is of a form that Pillow does not read; convert it to JPEG$"
    ):
        read_picture(BytesIO(path.read_bytes()) if whole else path, str(path), 8, 3)


@pytest.mark.parametrize("name", ["DSC_0001.NEF", "1.dng", "1.kdc"])
def test_the_thumbnail_in_a_raw_file_is_not_taken_for_its_picture(tmp_path: Path, name: str) -> None:
    Image.fromarray(array(GREY)).save(tmp_path / name, "TIFF")  # which is all that Pillow sees of one
    with pytest.raises(match=f"{name}: is of a form that Pillow does not read"):
        read(tmp_path / name)


def test_a_jpeg_with_the_name_of_a_raw_file_is_read(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2), "red").save(tmp_path / "1.heic", "JPEG")
    assert read(tmp_path / "1.heic").shape == (2, 2, 3)


@pytest.mark.parametrize("pillow_limit", [1000, 100, None])
def test_decompression_bomb_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pillow_limit: int | None
) -> None:
    file = saved(tmp_path, Image.new("1", (40, 40)), "bomb.png")  # 1600 pixels
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pillow_limit)  # warns, refuses, or lets it pass
    monkeypatch.setattr(decoding, "LARGEST_PICTURE", 1599)
    with pytest.raises(UserError, match=r"bomb\.png: too many pixels; make it smaller"):
        read(file)
    if pillow_limit is None:
        monkeypatch.setattr(decoding, "LARGEST_PICTURE", 1600)
        assert read(file).shape == (2, 2, 3)


def test_a_jpeg_is_judged_by_what_is_decoded_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = saved(tmp_path, Image.new("L", (80, 80), 99), "a.jpg")  # 6400 pixels, of which 100 are decoded
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    monkeypatch.setattr(decoding, "LARGEST_PICTURE", 100)
    assert np.all(read(file) == 99)
    monkeypatch.setattr(decoding, "LARGEST_PICTURE", 99)
    with pytest.raises(UserError, match=r"a\.jpg: too many pixels; make it smaller \(80x80\)"):
        read(file)
    monkeypatch.setattr(decoding, "LARGEST_PICTURE", 100)
    monkeypatch.setattr(decoding, "LARGEST_JPEG", 6399)
    with pytest.raises(UserError, match=r"a\.jpg: too many pixels; make it smaller \(80x80\)"):
        read(file)


@pytest.mark.parametrize(("progressive", "pixels"), [(False, 100), (True, 6400)])
def test_room_is_taken_for_what_is_in_memory_of_a_jpeg(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, progressive: bool, pixels: int
) -> None:
    taken = []

    def take(pixels: int) -> AbstractContextManager[None]:
        taken.append(pixels)
        return nullcontext()

    monkeypatch.setattr(ROOM, "taking", take)
    read(saved(tmp_path, Image.new("RGB", (80, 80)), "a.jpg", progressive=progressive))
    assert taken == [pixels]


MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I;16", "I", "F")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("channels", [1, 3])
def test_large_pictures_are_converted_a_strip_at_a_time(
    monkeypatch: pytest.MonkeyPatch, mode: str, channels: int
) -> None:
    colours = Image.fromarray(np.random.RandomState(0).randint(0, 256, (9, 7, 4)).astype(np.uint8))
    image = colours.convert("L").convert("I").convert(mode) if mode in MODES[-3:] else colours.convert(mode)
    whole = to_pixels(image, 5, channels)
    converted = []
    convert = Image.Image.convert

    def count(image: Image.Image, *arguments: Any) -> Image.Image:
        converted.append(image.width * image.height)
        return convert(image, *arguments)

    monkeypatch.setattr(decoding, "STRIP", 15)  # two of seven columns' rows, and one in the end
    monkeypatch.setattr(Image.Image, "convert", count)
    assert np.array_equal(to_pixels(image, 5, channels), whole)
    assert {*converted} == ({14, 7} if mode != {1: "L", 3: "RGB"}[channels] else set())


def test_no_program_is_run_to_draw_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object, **__: object) -> None:
        pytest.fail("Ghostscript")

    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", run)
    file = saved(tmp_path, Image.fromarray(array([[[1, 2, 3]]])), "a.eps").rename(tmp_path / "a.png")
    with pytest.raises(
        UserError, match=r"a\.png: cannot be read as a picture; .*\(EPS is a program that draws"
    ):
        read(file)
