"""Draws pictures, so that you can try the pipeline without photos: coloured shapes on a coloured ground.

As people have them: of several sizes and formats, some lying on their side as their EXIF data say.

    python examples/photos/make_photos.py                # four classes in data/images/train
    python examples/photos/make_photos.py star           # one class more

A class that is there already is left as it is.
"""

import argparse
import math
import random
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageDraw

CORNERS = {"circle": 60, "square": 4, "triangle": 3, "pentagon": 5, "star": 10}
SIZES = (96, 72), (160, 120), (90, 120), (300, 300)  # pixels; the pipeline scales and crops
FORMATS = "jpg", "png", "webp"
ORIENTATION = 0x0112  # in EXIF data
ON_ITS_SIDE = 6


def draw(name: str, stream: random.Random) -> Image.Image:
    """One picture of a class: its place, turn, size and colours are drawn."""
    size = stream.choice(SIZES)
    short = min(size)
    ground, ink = ([stream.randrange(low, low + 100) for _ in "RGB"] for low in stream.sample([0, 155], 2))
    image = Image.new("RGB", size, tuple(ground))
    middle = [side / 2 + stream.uniform(-0.1, 0.1) * short for side in size]
    radius, turn = stream.uniform(0.25, 0.42) * short, stream.uniform(0, 2 * math.pi)
    ImageDraw.Draw(image).polygon([*outline(name, middle, radius, turn)], fill=tuple(ink))
    return image


def save(image: Image.Image, directory: Path, index: int) -> None:
    """Write the picture number ``index``; every fourth was taken with the camera on its side."""
    exif = image.getexif()
    if index % 4 == 3:
        exif[ORIENTATION] = ON_ITS_SIDE
    image.save(directory / f"{index:03}.{FORMATS[index % len(FORMATS)]}", quality=90, exif=exif)


def outline(name: str, middle: list[float], radius: float, turn: float) -> Iterator[tuple[float, float]]:
    """The corners of a shape."""
    count = CORNERS[name]
    for corner in range(count):
        angle = turn + 2 * math.pi * corner / count
        far = radius * (0.4 if name == "star" and corner % 2 else 1)
        yield middle[0] + far * math.cos(angle), middle[1] + far * math.sin(angle)


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("classes", nargs="*", metavar="class", help=", ".join(CORNERS))
    parser.add_argument("--images", type=int, default=60, help="of each class (default: 60)")
    parser.add_argument("--to", type=Path, default=Path("data/images/train"))
    options = parser.parse_args()
    names = options.classes or list(CORNERS)[:4]
    if unknown := sorted({*names} - {*CORNERS}):
        parser.error(f"{', '.join(unknown)}: no class to draw; take of {', '.join(CORNERS)}")
    for name in names:
        directory = options.to / name
        if directory.exists():
            print(f"{directory}: there already")
            continue
        directory.mkdir(parents=True)
        stream = random.Random(name)
        for index in range(options.images):
            save(draw(name, stream), directory, index)
        print(f"{directory}: {options.images} pictures")


if __name__ == "__main__":
    main()
