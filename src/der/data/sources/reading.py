"""Reading a source, and holding what it yields to what everything after it relies on."""

import unicodedata
from collections.abc import Generator, Iterable
from pathlib import Path

import numpy as np

from der.core.errors import UserError, naming
from der.data.sources.class_images import ClassImages
from der.data.sources.class_names import check_name
from der.data.sources.registry import find_source
from der.settings.sections import DatasetSettings


def read_source(settings: DatasetSettings, scratch: Path) -> Generator[ClassImages, None, None]:
    """Yield the classes of the source that ``settings`` name, as ``registry.Read`` describes them.

    ``scratch`` is a path at which a source may make a directory while it is read. Raises UserError for a
    source that is in no registry, for whatever the source finds wrong with its files, and, naming the source,
    for whatever it yields that is not as described.
    """
    where = f"dataset.source: {settings.source}"
    found: object = find_source(settings).read(settings, scratch)
    if not isinstance(found, Iterable):
        raise UserError(f"{where}: returns {_kind(found)}; yield a ClassImages for every class")
    before: str | None = None
    count = 0
    try:
        for one in found:
            with naming(where):
                _check(one, before, settings)
            yield one
            before, count = one.name, count + 1
    finally:
        if isinstance(found, Generator):
            found.close()
    if count < 2:
        raise UserError(f"{where}: yields {count} of the two classes that are needed; add classes")


def _check(one: object, before: str | None, settings: DatasetSettings) -> None:
    if not isinstance(one, ClassImages) or not isinstance(one.name, str):
        raise UserError(f"yields {_kind(one)}, no class by name; yield a ClassImages for every class")
    with naming(f"{one.name!r}"):
        check_name(one.name)
    if one.name != unicodedata.normalize("NFC", one.name):
        raise UserError(f"{one.name!r} is not in Unicode NFC; normalise the name")
    if before is not None and one.name <= before:
        raise UserError(f"class {one.name!r} comes after {before!r}; yield every class once, names sorted")
    for split, images in (("train", one.train), ("test", one.test)):
        _check_images(images, f"{split} of class {one.name!r}", settings)


def _check_images(images: object, what: str, settings: DatasetSettings) -> None:
    form = (settings.side, settings.side, settings.channels)
    if not isinstance(images, np.ndarray):
        raise UserError(f"{what} is {_kind(images)}; give a numpy array")
    if images.dtype != np.uint8 or images.shape[1:] != form:
        wanted = ", ".join(map(str, form))
        raise UserError(f"{what} is {images.dtype} of shape {images.shape}; give uint8 of (n, {wanted})")
    if not len(images):
        raise UserError(f"{what} has no image; give at least one, or leave the class out")


def _kind(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
