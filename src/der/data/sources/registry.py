"""The sources of images that dataset.source can name, and the reading of one into class arrays."""

import json
import os
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from der.core import files, registry
from der.core.errors import UserError, composed, naming
from der.data.arrays import class_file, every_row, write_images
from der.data.sources import LATER, ClassImages, Images, check_name, folder, hold_out
from der.data.sources.pictures import resize_all
from der.settings.sections import SPLITS, DatasetSettings

# Names of the classes of public data sets, in alphabetical order.
CLASSES: dict[str, list[str]] = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
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


def cifar(
    kind: Literal["CIFAR10", "CIFAR100"], settings: DatasetSettings, scratch: Path | None = None
) -> Generator[ClassImages, None, None]:
    """Yield the classes of a data set of Krizhevsky's (2009) by name, in alphabetical order."""
    # Here, because it takes seconds that the other sources need not spend.
    from torchvision import datasets  # type: ignore[import-untyped]

    directory, dataset = Path(os.path.expanduser(settings.downloads)), getattr(datasets, kind)
    try:  # torchvision checks the MD5, and downloads what is not complete
        train, test = (dataset(directory, train=is_train, download=True) for is_train in (True, False))
    except Exception as error:  # of the network, of the file, of the data set's code
        raise UserError(
            f"{directory / dataset.filename}: could not be downloaded and verified ({error}); put the file "
            f"from {dataset.url} there yourself (MD5 {dataset.tgz_md5}), and delete the directory "
            f"{directory / dataset.base_folder} if it exists"
        ) from None
    for label, name in sorted(enumerate(train.classes), key=lambda pair: pair[1]):
        train_images, test_images = (
            resize_all(split.data[np.array(split.targets) == label], settings.side, settings.channels)
            for split in (train, test)
        )
        yield ClassImages(name, train_images, test_images)


SCRATCH = "unpacked"  # below the directory that is filled


class Read(Protocol):
    """A source: a function that yields the classes of a data set, one at a time.

    Every class is a ``der.data.sources.ClassImages``: its name, which a file must be able to have, and two
    arrays, uint8 (n, settings.side, settings.side, settings.channels), n >= 1.
    There are at least two; names come in alphabetical order, that of ``sorted``, in Unicode NFC, none twice.
    A source without test images holds some out by ``der.data.sources.hold_out``; pictures become arrays by
    ``der.data.sources.pictures``.

    ``settings`` is section dataset of the parameters; ``settings.path`` is the file or directory to read.
    ``scratch`` is a path where the source may make a directory for its own files, which it removes at the
    end. The same settings and files must give the same arrays: draws come only from ``settings.seed``.
    Raises UserError, one sentence, for every mistake in the files.
    """

    def __call__(self, settings: DatasetSettings, scratch: Path, /) -> Iterable[ClassImages]: ...


@dataclass(frozen=True)
class Source:
    """A source of images, and the facts that are known before it is read."""

    read: Read
    classes: Sequence[str] | None = None  # None: those that the user puts there, now and later
    list_found: Callable[[DatasetSettings], list[str]] = lambda settings: []  # those; [] if unknown
    check: Callable[[DatasetSettings], None] = lambda settings: None  # UserError if reading is sure to fail
    images: int = 0  # that a class has for training, about; 0: unknown

    def list_names(self, settings: DatasetSettings) -> list[str]:
        """List the names of all classes, in alphabetical order; none if they are unknown."""
        return self.list_found(settings) if self.classes is None else list(self.classes)


@dataclass(frozen=True)
class Counts:
    classes: int
    train: int  # images
    test: int  # images
    passed_over: int = 0  # files that are no pictures by their names


SOURCES: dict[str, Source] = {
    "digits": Source(digits, CLASSES["digits"], images=144),
    "cifar10": Source(partial(cifar, "CIFAR10"), CLASSES["cifar10"], images=5000),
    "cifar100": Source(partial(cifar, "CIFAR100"), CLASSES["cifar100"], images=500),
    "folder": Source(folder.folder, list_found=folder.list_classes, check=folder.check_folder),
}


def find_source(settings: DatasetSettings) -> Source:
    """Find the source that ``settings`` name, or a user's function; raises UserError if there is none."""
    found: Source | Read = registry.look_up(SOURCES, settings.source, "dataset.source")
    return found if isinstance(found, Source) else Source(found)


def download(settings: DatasetSettings, destination: Path) -> Counts:
    """Read a source into ``destination/{train,test}/<class>.npy``, a sealed directory for each split.

    Only one class is in memory at a time, or some megabytes if it is mapped. Raises UserError like
    ``read_source``; files written before it stay, so the caller makes the directory whole or absent.
    """
    counts = np.zeros(4, np.int64)
    with closing(read_source(settings, destination / SCRATCH)) as found:
        for one in found:
            for split, images in zip(SPLITS, (one.train, one.test), strict=True):
                file = destination / split / class_file(one.name)
                if file.exists():  # such as Cat and cat on a file system that ignores case
                    raise UserError(f"{file}: two classes' names differ in case only; rename one")
                if len(images):  # all but the test images of photos for a later step
                    _put(images, file, destination / SCRATCH)
            counts += (not LATER.fullmatch(one.name), len(one.train), len(one.test), one.passed_over)
    for split in SPLITS:
        files.seal(destination / split, {})
    return Counts(*counts.tolist())


def _put(images: Images, file: Path, scratch: Path) -> None:
    """Write ``images``; if a .npy file below ``scratch`` holds exactly them, it becomes ``file``."""
    if isinstance(images, np.memmap):
        whole = Path(str(images.filename))
        if scratch in whole.parents and whole.stat().st_size == images.offset + images.nbytes:
            file.parent.mkdir(parents=True, exist_ok=True)
            whole.replace(file)
            return
    write_images(file, every_row([images]))


def read_source(settings: DatasetSettings, scratch: Path) -> Generator[ClassImages, None, None]:
    """Yield the classes of the source that ``settings`` name; raises UserError unless they fit ``Read``."""
    where = f"dataset.source: {settings.source}"
    found: object = find_source(settings).read(settings, scratch)
    if not isinstance(found, Iterable):
        raise UserError(f"{where}: returns a {type(found).__name__}; yield a ClassImages for every class")
    before, count = None, 0
    try:
        for one in found:
            with naming(where):
                _check(one, before, settings)
            yield one
            before, count = one.name, count + (not LATER.fullmatch(one.name))
    finally:
        if isinstance(found, Generator):
            found.close()
    if count < 2:
        raise UserError(f"{where}: yields {count} of the two classes that are needed; add classes")


def _check(one: object, before: str | None, settings: DatasetSettings) -> None:
    """Raise UserError unless a source's class fits the description in ``Read``."""
    if not isinstance(one, ClassImages):
        raise UserError(f"yields a {type(one).__name__}; yield a ClassImages for every class")
    with naming(f"{one.name!r}"):
        check_name(one.name)
    if one.name != composed(one.name):
        raise UserError(f"{one.name!r} is not in Unicode NFC; normalise the name")
    if before is not None and one.name <= before:
        raise UserError(f"class {one.name!r} comes after {before!r}; yield every class once, names sorted")
    form = (settings.side, settings.side, settings.channels)
    for split, images in zip(SPLITS, (one.train, one.test), strict=True):
        what = f"{split} of class {one.name!r}"
        if images.dtype != np.uint8 or images.shape[1:] != form:
            wanted = ", ".join(map(str, form))
            raise UserError(f"{what} is {images.dtype} of shape {images.shape}; give uint8 of (n, {wanted})")
        if not len(images) and not (split == "test" and LATER.fullmatch(one.name)):
            raise UserError(f"{what} has no image; give at least one, or leave the class out")
