"""Pictures of every form: against pixel values worked out by hand, and decoded many at a time."""

import re
import struct
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from der.core.errors import UserError, printable
from der.core.files import read_array
from der.data.sources import pictures
from der.data.sources.pictures import Picture, decode, read_picture, to_pixels, write_decoded
from tests.data.sources.image_trees import SIDE, pixels_of, png, settings_for

GREY = [[0, 100], [200, 255]]
TURNED = [[200, 0], [255, 100]]  # by 90 degrees clockwise
COLOURS = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]
WHITE = COLOURS[3]
NO_PICTURE = "cannot be read as a picture; convert it to JPEG or remove it"


def array(values: Any, kind: Any = np.uint8) -> Any:
    return np.array(values, dtype=kind)


def saved(tmp_path: Path, image: Image.Image, name: str, **options: Any) -> Path:
    image.save(tmp_path / name, **options)
    return tmp_path / name


def read(file: Path, side: int = 2, channels: int = 3) -> Any:
    return read_picture(file, str(file), side, channels)


def refusal(file: Path) -> str:
    with pytest.raises(UserError) as caught:
        read(file)
    return str(caught.value)


def palette_image() -> Image.Image:
    """One pixel each of red, green, blue and white, as indices 0 to 3."""
    image = Image.fromarray(array([[0, 1], [2, 3]]), "P")
    image.putpalette(array(COLOURS).tobytes())
    return image


def test_rgb_of_the_right_size_is_unchanged(tmp_path: Path) -> None:
    pixels = np.random.RandomState(0).randint(0, 256, (9, 9, 3)).astype(np.uint8)
    for name in ("a.png", "a.bmp", "a.tiff", "a.ppm"):
        assert np.array_equal(read(saved(tmp_path, Image.fromarray(pixels), name), side=9), pixels)


def test_grey_and_colour_become_one_another(tmp_path: Path) -> None:
    file = saved(tmp_path, Image.fromarray(array(GREY)), "a.png")
    assert np.array_equal(read(file, channels=1)[..., 0], GREY)
    assert np.array_equal(read(file), np.repeat(array(GREY)[..., None], 3, axis=2))
    colours = saved(tmp_path, palette_image(), "b.png")
    wanted = np.array([[0.299, 0.587], [0.114, 1]]) * 255  # ITU-R 601
    assert np.abs(read(colours, channels=1)[..., 0] - wanted).max() <= 0.51


@pytest.mark.parametrize(
    ("name", "options", "wanted"),
    [
        ("a.gif", {}, COLOURS),
        ("a.png", {"transparency": 1}, [COLOURS[0], WHITE, *COLOURS[2:]]),
        ("a.png", {"transparency": bytes([255, 255, 0, 255])}, [*COLOURS[:2], WHITE, WHITE]),
    ],
)
def test_palette_and_transparent_palette(tmp_path: Path, name: str, options: Any, wanted: Any) -> None:
    assert read(saved(tmp_path, palette_image(), name, **options)).reshape(-1, 3).tolist() == wanted


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


@pytest.mark.parametrize(
    ("mode", "colour", "rgb"),
    [
        ("1", 1, (255, 255, 255)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("CMYK", (0, 0, 0, 255), (0, 0, 0)),
        ("YCbCr", (255, 128, 128), (255, 255, 255)),
        ("HSV", (0, 255, 255), (255, 0, 0)),
        ("LAB", (255, 128, 128), (255, 255, 255)),
        ("LAB", (0, 128, 128), (0, 0, 0)),
        ("PA", (0, 0), (255, 255, 255)),
        ("RGBX", (9, 8, 7, 0), (9, 8, 7)),
        ("RGBa", (50, 0, 0, 51), (254, 204, 204)),
        ("La", (0, 51), (204, 204, 204)),
    ],
)
def test_other_colour_spaces(mode: str, colour: Any, rgb: tuple[int, int, int]) -> None:
    assert np.abs(to_pixels(Image.new(mode, (2, 2), colour), 2, 3).astype(int) - rgb).max() <= 1


def test_16_bit_grey_is_scaled_not_clipped(tmp_path: Path) -> None:
    for kind, mode in (("<u2", "I;16"), (">u2", "I;16B")):
        deep = Image.fromarray(array([[0, 257 * 100], [257 * 200 + 128, 65535]], kind))
        assert deep.mode == mode
        assert np.array_equal(to_pixels(deep, 2, 1)[..., 0], GREY)
        assert np.array_equal(read(saved(tmp_path, deep, "a.tiff"), channels=1)[..., 0], GREY)
    for name in ("a.png", "a.pgm"):
        file = saved(tmp_path, Image.fromarray(array(GREY, np.uint16) * 257), name)
        assert np.array_equal(read(file, channels=1)[..., 0], GREY)
    assert to_pixels(Image.fromarray(array(GREY, np.uint16)), 2, 1).max() == 1  # what is dark stays dark


@pytest.mark.parametrize("channels", [1, 3])
def test_transparent_grey_of_a_16_bit_png(tmp_path: Path, channels: int) -> None:
    deep = Image.fromarray(array([[1000, 1001], [257 * 200, 0]], np.uint16))  # the first two are 4 in 8 bits
    file = saved(tmp_path, deep, "a.png", transparency=1000)
    wanted = array([[255, 4], [200, 0]])
    assert np.array_equal(read(file, channels=channels), np.repeat(wanted[..., None], channels, axis=2))


@pytest.mark.parametrize(("kind", "white"), [(np.int32, 255), (np.int32, 65535), (np.float32, 1)])
def test_32_bit_grey_takes_the_smallest_range_that_holds_it(tmp_path: Path, kind: Any, white: int) -> None:
    image = Image.fromarray((array(GREY, np.float64) / 255 * white).astype(kind))
    assert image.mode in ("I", "F")
    assert np.array_equal(read(saved(tmp_path, image, "a.tiff"), channels=1)[..., 0], GREY)


@pytest.mark.parametrize("value", [-1.0, 65536.0, float("nan"), float("inf")])
def test_numbers_that_are_no_brightness(tmp_path: Path, value: float) -> None:
    file = saved(tmp_path, Image.fromarray(array([[0, value]], np.float32)), "a.tiff")
    assert refusal(file) == (
        f"{file}: cannot be read as a picture; repair or remove it (grey values outside 0 to 65535)"
    )


@pytest.mark.parametrize(
    ("tag", "kind", "value"),
    [
        (0x0128, 3, b"\1\0"),  # as it should be
        (0x0128, 4, b"\xff\xff\xff\xff"),  # the unit of resolution as a number that is too large
        (0x010F, 5, b"\x08\0\0\0"),  # the maker as a fraction
        (0x011A, 2, b"72\0"),  # the resolution as text
    ],
)
def test_a_photo_is_turned_by_any_exif_data(tmp_path: Path, tag: int, kind: int, value: bytes) -> None:
    """Cameras and programs write them in other ways than the standard, or damage them."""
    turned = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
    other = struct.pack("<HHI4s", tag, kind, len(value) if kind == 2 else 1, value)
    exif = b"II*\0" + struct.pack("<IH", 8, 2) + b"".join(sorted([turned, other])) + bytes(4)
    file = saved(tmp_path, Image.fromarray(array(GREY)), "a.png", exif=b"Exif\0\0" + exif)
    assert read(file, channels=1)[..., 0].tolist() == TURNED


def test_wide_and_tall_pictures_are_centre_cropped() -> None:
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = 255  # the centre square is white, the sides black
    assert np.all(to_pixels(Image.fromarray(wide), 8, 3) == 255)
    assert np.all(to_pixels(Image.fromarray(wide.transpose(1, 0, 2)), 8, 3) == 255)
    assert to_pixels(Image.fromarray(wide), 4, 3)[:, 1:3].min() > 240


def test_large_jpeg_comes_out_as_if_decoded_whole(tmp_path: Path) -> None:
    blocks = np.random.RandomState(0).randint(0, 256, (32, 32)).astype(np.uint8)
    file = saved(tmp_path, Image.fromarray(np.kron(blocks, np.ones((4, 4), np.uint8))), "a.jpg", quality=95)
    whole = to_pixels(Image.open(file), 32, 1).astype(int)
    difference = np.abs(read(file, side=32, channels=1) - whole).mean()
    assert difference < 0.2 * whole.std(), (difference, whole.std())


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "webp", "tiff"])
def test_a_picture_cut_short_is_named(tmp_path: Path, suffix: str) -> None:
    noise = Image.fromarray(np.random.RandomState(0).randint(0, 256, (32, 32, 3)).astype(np.uint8))
    file = saved(tmp_path, noise, f"a.{suffix}")
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    assert refusal(file).startswith(f"{file}: cannot be read as a picture; repair ")


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)


@pytest.mark.parametrize(("name", "content"), [("1.png", b""), ("1.txt", b"notes\n"), ("1.JPG", HEIC)])
def test_what_pillow_does_not_read_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert refusal(path) == f"{path}: {NO_PICTURE}"
    with pytest.raises(UserError, match=f"^here: {NO_PICTURE}$"):
        read_picture(BytesIO(content), "here", 8, 3)


@pytest.mark.parametrize("name", ["DSC_0001.NEF", "1.dng", "1.kdc"])
def test_the_thumbnail_in_a_raw_file_is_not_taken_for_its_picture(tmp_path: Path, name: str) -> None:
    file = saved(tmp_path, Image.fromarray(array(GREY)), name, format="TIFF")  # all that Pillow sees of one
    assert refusal(file) == f"{file}: {NO_PICTURE}"


@pytest.mark.parametrize(
    ("name", "kind"), [("1.heic", "JPEG"), ("1.jpg", "TIFF"), ("1", "TIFF"), ("1.gif", "PNG")]
)
def test_a_picture_with_another_suffix_is_read(tmp_path: Path, name: str, kind: str) -> None:
    assert read(saved(tmp_path, Image.new("RGB", (2, 2), "red"), name, format=kind)).shape == (2, 2, 3)


@pytest.mark.parametrize("pillow_limit", [1000, 100, None])  # warns, refuses, or lets it pass
@pytest.mark.parametrize(("name", "pixels"), [("bomb.png", 6400), ("a.jpg", 100)])
def test_a_picture_of_too_many_pixels_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, pixels: int, pillow_limit: int | None
) -> None:
    """A JPEG by what is decoded of it."""
    file = saved(tmp_path, Image.new("L", (80, 80), 99), name)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pillow_limit)
    monkeypatch.setattr(pictures, "LARGEST_PICTURE", pixels)
    if name == "a.jpg" or pillow_limit is None:
        assert np.all(read(file) == 99)
    for limit in ("LARGEST_PICTURE", "LARGEST_JPEG"):
        with monkeypatch.context() as patch:
            patch.setattr(pictures, limit, pixels - 1)
            assert refusal(file).startswith(f"{file}: too many pixels; make it smaller")


def test_no_program_is_run_to_draw_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_, **__: pytest.fail("Ghostscript"))
    file = saved(tmp_path, Image.fromarray(array([[[1, 2, 3]]])), "a.eps").rename(tmp_path / "a.png")
    assert "(EPS is a program that draws" in refusal(file)


@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_many_come_to_their_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(pictures, "CHUNK", chunk)
    taken = []

    def given() -> Any:
        for index in range(40):
            taken.append(index)
            yield Picture(str(index), png(str(index)))

    with closing(decode(given(), SIDE, 3)) as decoded:
        assert write_decoded(tmp_path / "a.npy", range(30)[::-1], decoded, settings_for("")) == []
        assert len(taken) < 30 + chunk
        assert write_decoded(tmp_path / "b.npy", range(10), decoded, settings_for("")) == []
    wanted = np.stack([pixels_of(str(index)) for index in range(40)])
    assert np.array_equal(read_array(tmp_path / "a.npy"), wanted[:30][::-1])
    assert np.array_equal(read_array(tmp_path / "b.npy"), wanted[30:])


KINDS = {  # formats as Pillow names them, with the mode to save in
    **{"PNG": "RGBA", "JPEG": "CMYK", "GIF": "P", "TIFF": "F", "BMP": "RGB", "WEBP": "RGBA", "ICO": "RGBA"},
    **{"PPM": "RGB", "TGA": "RGBA", "JPEG2000": "RGB", "DDS": "RGBA"},
}


def encode(kind: str) -> bytes:
    """A picture of noise, turned by a quarter where the format can say so."""
    stream, exif = BytesIO(), Image.Exif()
    exif[0x0112] = 6
    options: dict[str, Any] = {"exif": exif} if kind in ("JPEG", "PNG", "WEBP") else {}
    image = Image.fromarray(pixels_of("")).convert(KINDS[kind])
    if kind == "ICO":
        options["sizes"] = [image.size]  # Pillow 11 saves none of less than 16 pixels by itself
    image.save(stream, kind, **options)
    return stream.getvalue()


WHOLE = [encode(kind) for kind in KINDS]
CHANGE = st.tuples(
    st.sampled_from(["put", "insert", "cut", "splice"]),
    st.integers(0, 2**16),
    st.binary(min_size=1, max_size=64),
    st.sampled_from(WHOLE),
)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # of EXIF data that it leaves out
@given(st.sampled_from(WHOLE), st.lists(CHANGE, max_size=4), st.sampled_from([1, 3]))
def test_changed_bytes_give_a_picture_or_a_sentence(whole: bytes, changes: list[Any], channels: int) -> None:
    content = whole
    for how, number, new, other in changes:
        place = number % max(len(content), 1)
        before, after = content[:place], content[place:]
        content = {
            "put": before + new + after[len(new) :],
            "insert": before + new + after,
            "cut": before + after[len(new) :],
            "splice": before + other[place:],
        }[how]
    try:
        pixels = read_picture(BytesIO(content), "here", SIDE, channels)
    except UserError as error:
        assert content != whole
        sentence = printable(str(error))  # as the programs show it
        assert re.match(
            "here: (cannot be read as a picture; (repair|convert)|too many pixels; make) ", sentence
        )
    else:
        assert (pixels.shape, pixels.dtype) == ((SIDE, SIDE, channels), np.uint8)
