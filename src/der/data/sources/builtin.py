"""Public data sets, read through the libraries that have them: scikit-learn's digits, CIFAR-10, CIFAR-100."""

from collections.abc import Generator
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal

import numpy as np

from der.core.errors import UserError
from der.core.files import expand_home
from der.data.sources import ClassImages, hold_out
from der.data.sources.pictures import resize_all
from der.settings.sections import DatasetSettings

# Names of the classes, in alphabetical order.
DIGITS = tuple("0123456789")
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# fmt: off
CIFAR100 = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl",
    "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair",
    "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin",
    "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp",
    "lawn_mower", "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain",
    "mouse", "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck",
    "pine_tree", "plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road",
    "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider",
    "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone", "television",
    "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf",
    "woman", "worm",
)
# fmt: on

BRIGHTEST = 16  # the white of scikit-learn's digits


def digits(settings: DatasetSettings, scratch: Path | None = None) -> Generator[ClassImages, None, None]:
    """Yield the classes "0" to "9", 1,797 grey images of 8x8 pixels; the grey levels 0..16 become 0..255."""
    # Here, because it takes a second that the other sources need not spend.
    from sklearn.datasets import load_digits  # type: ignore[import-untyped]

    data = load_digits()
    pixels = np.rint(data.images * (255 / BRIGHTEST)).astype(np.uint8)
    for digit in range(10):
        images = resize_all(pixels[data.target == digit], settings.side, settings.channels)
        yield hold_out(str(digit), images, settings)


def cifar10(settings: DatasetSettings, scratch: Path | None = None) -> Generator[ClassImages, None, None]:
    """Yield CIFAR-10's ten classes by name, in alphabetical order; errors as ``_load``."""
    return _cifar("CIFAR10", settings)


def cifar100(settings: DatasetSettings, scratch: Path | None = None) -> Generator[ClassImages, None, None]:
    """Yield CIFAR-100's hundred fine classes by name, in alphabetical order; errors as ``_load``."""
    return _cifar("CIFAR100", settings)


def _cifar(
    kind: Literal["CIFAR10", "CIFAR100"], settings: DatasetSettings
) -> Generator[ClassImages, None, None]:
    """Yield the classes of a data set of Krizhevsky's (2009)."""
    # Here, because it takes seconds that the other sources need not spend.
    from torchvision import datasets  # type: ignore[import-untyped]

    directory = expand_home(settings.downloads)
    train, test = (_load(getattr(datasets, kind), directory, is_train) for is_train in (True, False))
    for label, name in sorted(enumerate(train.classes), key=lambda pair: pair[1]):
        train_images, test_images = (
            resize_all(split.data[np.array(split.targets) == label], settings.side, settings.channels)
            for split in (train, test)
        )
        yield ClassImages(name, train_images, test_images)


def _load(dataset: Any, directory: Path, is_train: bool) -> Any:
    """Load a torchvision data set, downloaded unless it is there whole, of which it compares the MD5."""
    try:
        return dataset(directory, train=is_train, download=True)
    except (OSError, RuntimeError, HTTPException) as error:
        raise UserError(
            f"{directory / dataset.filename}: could not be downloaded and verified ({error}); put the file "
            f"from {dataset.url} there yourself (MD5 {dataset.tgz_md5}), and delete the directory "
            f"{directory / dataset.base_folder} if it exists"
        ) from None
